from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("durable/", include("durable_monty.urls")),
    # Serves the packages if DEBUG is set, so that a person who approves one can open it.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
