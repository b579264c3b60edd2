"""From a trained model to something that runs without this library: TF Serving's SavedModel and TFLite files.

source          what is exported: a run folder, a `.keras` file or a name of the zoo, always in float32

bundle          the folder that a model server starts from, with configuration, client and stored answers
saved_model     models/<name>/<version>/ in it (decoding, features: what its graph does; operators: whether TF Serving
                can run it; warmup: the requests it is warmed up with)
client          the bundle's client.py
server          TF Serving's REST interface, for development (rest, batching, servables: its parts)

tflite          .tflite files for phones and small computers (converter: the subprocess; flatbuffer: what is in a file;
                contract: what may be; metadata: labels and normalisation for MediaPipe, inside the file;
                edge_bundle: the README and edge_example.py beside them; edge_report, disagreements: their figures)
quantise        float16 and integer files (calibration: pictures to measure on; sensitivity: layers that stay float;
                budget: what a file may lose)

exchange        ONNX and OpenVINO files, by Keras' exporters (exchange_replay: the subprocess that runs them)

parity          each artifact, loaded again without this library (replay), against the Keras model
compare         accuracy, size and latency of artifacts side by side
"""
