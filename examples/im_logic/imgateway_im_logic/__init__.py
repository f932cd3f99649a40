"""A back end by GoChat's protos: accounts, conversations and messages, over gRPC and the gateway's topics."""
