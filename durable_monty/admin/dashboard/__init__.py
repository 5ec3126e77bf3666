"""The dashboard, which is the app's index page in the admin."""
