from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("durable/", include("durable_monty.urls")),
    # Only with DEBUG: the packages, so that who approves one can look into it.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
