from tests.settings import *
from tests.settings import INSTALLED_APPS

# Its templates come before Django's; the app that registers again comes last.
INSTALLED_APPS = ["unfold", *INSTALLED_APPS, "tests.under_unfold"]
