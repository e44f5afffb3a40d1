"""`adroit serve`: a model repository over the Open Inference Protocol (V2), by HTTP and gRPC.

A thin layer over maintained transports (uvicorn, grpc.aio); in it, from the wire inwards:

    http_app, http_inference, http_predict, connection    HTTP: routes, bodies, the second endpoint
    grpc_service, grpc_inference                           gRPC
    messages, datatypes, tensors                           what is said on the wire, as arrays
    inference                                              a request, checked against its model
    batcher                                                one bounded queue a model, batches from it
    served_model, instance, repository                     models, their runtimes, loading
    statistics, metrics, log                               what an operator sees
    server                                                 start, readiness, graceful stop

Arrays are decoded and checked before they are queued, so what waits in a queue can run.
"""
