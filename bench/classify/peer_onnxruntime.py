"""ONNX Runtime's CPU provider."""
import onnxruntime

from peer import serve


def make(model, batch, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    assert session.get_session_options().intra_op_num_threads == threads
    assert image.type == "tensor(float)" and session.get_providers() == ["CPUExecutionProvider"]
    return {"version": onnxruntime.__version__}, lambda x: session.run(None, {image.name: x})[0]


serve(make)
