"""The gRPC services of im.logic.v1: requests checked, the domain asked, answers put together."""
