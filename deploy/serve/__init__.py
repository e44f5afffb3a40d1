"""`adroit serve`: a model repository over the Open Inference Protocol (V2), by HTTP and gRPC.

A thin layer over maintained transports (uvicorn, grpc.aio). Its rooms, from the wire inwards:

    http/        connections with limits, the table of URLs, handlers, bodies; page/ is the web page for people
    grpc/        methods and messages
    protocol/    what both share: messages, datatypes, tensors, refusals
    engine/      models, their queues and batches, budgets, load, memory
    observe/     log, metrics and statistics for the operator

server.py starts and stops all of it, service.py holds its state, options.py its limits. Arrays are decoded
and checked before they are queued, so what waits in a queue can run.
"""
