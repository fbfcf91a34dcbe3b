"""OpenVINO's CPU plugin, held to float32."""
import openvino

from peer import serve


def make(model, batch, threads):
    core = openvino.Core()
    network = core.read_model(model)
    network.reshape([batch, *[d.get_length() for d in list(network.inputs[0].partial_shape)[1:]]])
    compiled = core.compile_model(network, "CPU", {
        "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY"})
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
    request = compiled.create_infer_request()

    def run(x):
        request.infer([x])
        return request.get_output_tensor().data

    return {"version": openvino.__version__.split("-")[0]}, run


serve(make)
