"""Serve a bundle over HTTP: answers, streams of them, OpenAI's chat completions, and a page (docs/serve.md).

    from f2edge.serve.app import create_app

    app = create_app(f2edge.load("florence-2-base.cpu"))  # an ASGI application; f2edge serve runs it with uvicorn

The packages that this room needs come with the extra ``serve``.
"""
