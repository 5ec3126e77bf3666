from django.apps import AppConfig


class VideosConfig(AppConfig):
    name = "example_project.videos"
    verbose_name = "Videos"
