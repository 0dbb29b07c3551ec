"""A view that calls Graph with Microsoft's own SDK."""

import asyncio


def add_to(app, auth):
    from msgraph import GraphServiceClient

    @app.get("/sdk")
    @auth.login_required(scopes=["User.Read"])
    def name(*, context):
        async def ask():
            graph = GraphServiceClient(auth.async_credential(["User.Read"]))
            return await graph.me.get()

        return {"name": asyncio.run(ask()).display_name}
