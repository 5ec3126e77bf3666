class Router:
    def db_for_write(self, model, **hints):
        return "elsewhere"
