"""The least there is: a gateway in a Starlette application, for users with JSON Web Tokens.."""

import os

from starlette.applications import Starlette

from imgateway import AuthSettings, Settings
from imgateway.adapters.jwt import JwtAuthenticator
from imgateway.adapters.memory import embedded_gateway
from imgateway.adapters.starlette import gateway_lifespan, gateway_routes

settings = Settings(auth=AuthSettings(secret=os.environ["CHAT_SECRET"]))
gateway = embedded_gateway(JwtAuthenticator.from_settings(settings.auth), settings)
app = Starlette(routes=gateway_routes(gateway), lifespan=gateway_lifespan(gateway))
