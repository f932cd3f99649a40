"""Proving users by JSON Web Tokens, with PyJWT."""

from imgateway.adapters.jwt.authenticator import JwtAuthenticator
from imgateway.adapters.jwt.minting import mint_token

__all__ = ["JwtAuthenticator", "mint_token"]
