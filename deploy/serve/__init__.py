"""`adroit serve`: a model repository over the Open Inference Protocol (V2), by HTTP and gRPC.

A thin layer over maintained transports (uvicorn, grpc.aio); in it, from the wire inwards:

    connection, http_app, http_body, http_inference, http_predict    HTTP: limits, addresses, bodies
    image_files, http_page, page/                                     encoded images; the page for people
    grpc_service, grpc_inference, protocol                            gRPC: methods, messages
    messages, datatypes, tensors, shared_memory                       what is said on the wire, as arrays
    refusal, pending, options                                         what is not answered, and the limits
    inference, budget                                                 a request, checked against its model
    batcher                                                           one bounded queue a model, batches from it
    served_model, instance, repository                                models, their runtimes, loading
    statistics, metrics, log                                          what an operator sees
    service, server                                                   all of it; start and graceful stop

Arrays are decoded and checked before they are queued, so what waits in a queue can run.
"""
