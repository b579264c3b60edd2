from keras_vit import analysis as analysis
from keras_vit import layers as layers
from keras_vit import models as models
from keras_vit.analysis.intermediate import intermediate_features as intermediate_features
from keras_vit.analysis.pyramid import feature_pyramid as feature_pyramid
from keras_vit.imagenet.labels import decode_predictions as decode_predictions
from keras_vit.models.adapters import load_adapter as load_adapter
from keras_vit.models.create import create_model as create_model
from keras_vit.models.depth import depth_groups as depth_groups
from keras_vit.models.saving import save_weights as save_weights
from keras_vit.models.sizes import at_image_size as at_image_size
from keras_vit.prediction.embedding import Embedder as Embedder
from keras_vit.prediction.embeddings_file import Embeddings as Embeddings
from keras_vit.prediction.embeddings_file import load_embeddings as load_embeddings
from keras_vit.prediction.embeddings_file import save_embeddings as save_embeddings
from keras_vit.prediction.neighbours import nearest as nearest
from keras_vit.prediction.predictor import Predictor as Predictor
from keras_vit.prediction.preprocess_input import preprocess_input as preprocess_input
from keras_vit.sources.registry import info as info
from keras_vit.sources.registry import list_models as list_models
from keras_vit.sources.run_folder import load_run as load_run

__version__: str
