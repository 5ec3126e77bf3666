from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DurableMontyConfig(AppConfig):
    name = "durable_monty"
    verbose_name = _("Durable workflows")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from durable_monty import checks, discovery, url_checks  # noqa: F401  (checks register themselves)

        discovery.autodiscover()
