"""The configuration of the RQ workers that have Django: `rq worker --config`."""

import django

django.setup()
