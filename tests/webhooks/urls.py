from django.urls import include, path

urlpatterns = [path("durable/", include("durable_monty.urls"))]
