from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from tests.two_databases.models import User

admin.site.register(User, UserAdmin)
