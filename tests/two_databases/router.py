class Router:
    """Says no more than it must: of other models Django decides."""

    def db_for_read(self, model, **hints):
        return "durable" if model._meta.app_label == "durable_monty" else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (db == "durable") == (app_label == "durable_monty")
