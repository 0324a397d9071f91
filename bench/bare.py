"""What a request costs before any of our work: Falcon answers 202."""

import falcon


class Accepted:
    def on_post(self, request, response):
        request.bounded_stream.read()
        response.status = falcon.HTTP_202
        response.data = b'{"accepted":1}'


application = falcon.App()
application.add_route("/v1/traces", Accepted())
