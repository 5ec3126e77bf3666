"""A strict policy on every page: what needs inline script or style is seen to be broken."""

POLICY = "default-src 'self'; frame-ancestors 'none'; form-action 'self'"


def strict(get_response):
    def middleware(request):
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware
