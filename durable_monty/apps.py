from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DurableMontyConfig(AppConfig):
    name = "durable_monty"
    verbose_name = _("Durable workflows")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from durable_monty import checks, discovery  # noqa: F401  (checks register themselves)
        from durable_monty.executors import checks as executor_checks  # noqa: F401

        discovery.autodiscover()
