"""The settings of a training run, grouped into frozen dataclasses that are checked on construction.

Neither Keras nor TensorFlow is imported here, so that the command line lists settings without them.
"""

from dataclasses import dataclass
from typing import Literal

from keras_vit.training.pipeline import sizes
from keras_vit.training.setting_checks import Group, above_zero, at_least_zero, below_one, closest, up_to_one

DATASETS = ("digits", "folder", "records", "csv")
LOGGERS = ("csv", "tensorboard", "wandb", "mlflow")


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Group):
    """Which architecture is trained, from which weights, and what of it is frozen or dropped."""

    model: str
    """Name of a model, as `keras-vit list` prints them."""
    weights: str | None = None
    """Tag, weight file or run folder to start from; None trains from scratch."""
    img_size: tuple[int, int] | None = None
    """Height and width in pixels; None takes the last size of img_size_schedule, or else the size of the weights."""
    img_size_schedule: str | None = None
    """Sizes to train on, each with the fraction of the run at which it begins: "128@0,192@0.5,224@0.8", or 192x256 for
    height x width. The last is the run's own size."""
    multi_scale: str | None = None
    """Sizes of which every batch draws one: "192,224,256", or 192x256 for height x width. The run is validated and
    saved at img_size."""
    drop: float = 0.0
    """Dropout rate before the classifier."""
    drop_path: float = 0.0
    """Stochastic depth rate of the last block."""
    freeze_depth: int = 0
    """Freeze this many levels of depth, from the input up (`keras_vit.depth_groups`)."""
    linear_probe: bool = False
    """Train the classifier only."""
    lora_rank: int | None = None
    """Train additions of this rank to the matrices of attention and MLPs, and the classifier; all else is frozen (LoRA,
    arXiv:2106.09685). None for none."""
    lora_alpha: float | None = None
    """The additions are multiplied by lora_alpha / lora_rank; None for lora_rank, which makes that 1."""

    def __post_init__(self):
        super().__post_init__()
        at_least_zero(self, "freeze_depth")
        below_one(self, "drop", "drop_path")
        sizes.check(self.img_size, self.img_size_schedule, self.multi_scale)
        if self.linear_probe and self.freeze_depth:
            raise ValueError("linear_probe freezes everything but the head. Give it or freeze_depth, not both.")
        self._check_lora()

    def _check_lora(self):
        above_zero(self, "lora_rank", "lora_alpha")
        if self.lora_rank is None and self.lora_alpha is not None:
            raise ValueError(f"lora_alpha belongs to lora_rank. Give both. Received: lora_alpha={self.lora_alpha}.")
        if self.lora_rank is not None and self.linear_probe:
            raise ValueError("linear_probe trains the head alone, lora_rank more than that. Give one of them.")
        if self.lora_rank is not None and self.weights is None:
            raise ValueError(
                "lora_rank adds to weights that are frozen, and without weights these would be random. Give weights."
            )


@dataclass(frozen=True, kw_only=True)
class DataSettings(Group):
    """Where the images come from."""

    dataset: str = "digits"
    """"digits" (1,797 scans that scikit-learn carries), "folder" (class folders below data_dir), "records" (shards
    below data_dir, as `keras-vit prepare-data` writes them), "csv" (data_dir is the path of a manifest) or "tfds/NAME"
    (tensorflow-datasets, prepared below data_dir)."""
    data_dir: str | None = None
    """Folder of class folders, or of train/ and val/ (and test/) with class folders in each; or what `dataset` says.
    Or its URL: s3://, gs://, az:// or hf://."""
    data_cache: str | None = None
    """Local folder that keeps what is read of a data_dir at a URL, for later epochs and runs."""
    data_cache_gb: float = 50.0
    """Gigabytes that data_cache may take; what was used least recently makes room."""
    train_split: str = "train"
    """Split of a tensorflow-datasets builder to train on."""
    val_split: str = "validation"
    """Split of a tensorflow-datasets builder that selects the checkpoint."""
    target_key: str | None = None
    """Feature of a tensorflow-datasets builder that holds the classes; None where only one can."""
    max_bad_fraction: float = 0.05
    """Images that cannot be decoded are replaced (skipped in evaluation) and listed, up to this fraction of a split."""
    sampler: Literal["shuffle", "balanced", "sqrt"] = "shuffle"
    """How an epoch draws its images: each once ("shuffle"), every class as often ("balanced"), or in proportion to the
    square root of its images ("sqrt")."""
    cache_megabytes: int = 1024
    """Decoded images are kept in memory if they fit into this many MiB; otherwise they are decoded every epoch."""

    def __post_init__(self):
        super().__post_init__()
        below_one(self, "max_bad_fraction")
        above_zero(self, "data_cache_gb")
        if self.dataset not in DATASETS and not self.dataset.startswith("tfds/"):
            raise ValueError(
                f"dataset must be one of {', '.join(DATASETS)} or tfds/NAME. Received: {self.dataset!r}."
                f"{closest(self.dataset, DATASETS)}"
            )


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Group):
    """How long, in which batches and by which rule the weights are updated."""

    epochs: int = 30
    """Passes over the training split."""
    batch_size: int | Literal["auto"] = 64
    """Images per update, over all devices and accumulated micro-batches; "auto" for as many as the recipe has, with
    grad_accum_steps "auto"."""
    grad_accum_steps: int | Literal["auto"] = 1
    """Micro-batches over which a device accumulates the gradient of its share of a batch; more of them need less
    memory. "auto" finds the fewest that the device has memory for, when the run begins."""
    memory_gigabytes: float | None = None
    """GiB that "auto" may use: on a GPU of its memory, else of this process; None for all that a GPU has, else for four
    fifths of what is free."""
    opt: Literal["adamw", "lamb", "sgd"] = "adamw"
    """The optimizer."""
    lr: float = 1e-3
    """Highest learning rate, at the end of the warm-up."""
    min_lr: float = 1e-6
    """Learning rate at the end of the cosine."""
    warmup_epochs: float = 1.0
    """Epochs in which the learning rate rises linearly; fractions are allowed."""
    weight_decay: float = 0.05
    """Decoupled from the gradient; only kernels decay: no norms, biases, tokens, position tables or layer scales."""
    opt_betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the moments of AdamW and Lamb."""
    momentum: float = 0.9
    """Nesterov momentum of SGD."""
    clip_grad: float | None = 1.0
    """Largest global norm of the gradient of an update; None for no limit."""
    layer_decay: float = 1.0
    """Layer-wise learning-rate decay: a factor per level of depth, so that lower layers learn more slowly
    (`keras_vit.depth_groups`)."""
    model_ema_decay: float | None = None
    """Decay of a moving average of the weights, which is then evaluated and saved in their place; None for no
    average."""

    def __post_init__(self):
        super().__post_init__()
        above_zero(self, "epochs", "lr", "clip_grad", "layer_decay", "memory_gigabytes")
        self._check_batch()
        at_least_zero(self, "min_lr", "warmup_epochs", "weight_decay")
        below_one(self, "momentum")
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs must not exceed epochs={self.epochs}. "
                f"Received: {self.warmup_epochs}; give fewer, or more epochs."
            )
        if self.model_ema_decay is not None and not 0 < self.model_ema_decay < 1:
            raise ValueError(f"model_ema_decay must lie between 0 and 1, or be None. Received: {self.model_ema_decay}.")

    def _check_batch(self):
        if isinstance(self.batch_size, str):
            raise ValueError(
                "batch_size='auto' keeps the batch size of a recipe: recipe.replace(batch_size='auto'). Otherwise give "
                f"a number, and grad_accum_steps='auto'. Received: batch_size={self.batch_size!r}."
            )
        if isinstance(self.grad_accum_steps, str) and self.grad_accum_steps != "auto":
            raise ValueError(f"grad_accum_steps must be a number or 'auto'. Received: {self.grad_accum_steps!r}.")
        above_zero(self, "batch_size", *(() if self.grad_accum_steps == "auto" else ("grad_accum_steps",)))


@dataclass(frozen=True, kw_only=True)
class LossSettings(Group):
    """What is minimised, and what rare classes weigh."""

    loss: Literal["auto", "cross_entropy", "bce", "focal", "asymmetric"] = "auto"
    """"auto": cross_entropy, and bce for images with several labels. bce, binary cross entropy of every class, is what
    DeiT III trains with (arXiv:2204.07118); focal is arXiv:1708.02002, and asymmetric, for several labels,
    arXiv:2009.14119."""
    smoothing: float = 0.1
    """Label smoothing."""
    focal_gamma: float = 2.0
    """How much less the focal loss weighs what is classified well already."""
    asymmetric_gammas: tuple[float, float] = (1.0, 4.0)
    """The same of the asymmetric loss, for the labels that an image has and for those that it has not."""
    asymmetric_clip: float = 0.05
    """Probability below which the asymmetric loss leaves out a label that an image has not."""
    class_weights: str | None = None
    """Weights of the classes in the loss: "balanced" (in inverse proportion to their training images), "effective"
    (to their effective number, arXiv:1901.05555) or a CSV file class,weight; None for 1 each."""
    effective_beta: float = 0.999
    """Beta of the effective number of images, (1 - beta^n) / (1 - beta)."""

    def __post_init__(self):
        super().__post_init__()
        below_one(self, "smoothing", "asymmetric_clip")
        at_least_zero(self, "focal_gamma")
        if min(self.asymmetric_gammas) < 0:
            raise ValueError(f"asymmetric_gammas must not be negative. Received: {self.asymmetric_gammas}.")
        if not 0 < self.effective_beta < 1:
            raise ValueError(f"effective_beta must lie between 0 and 1. Received: {self.effective_beta}.")


@dataclass(frozen=True, kw_only=True)
class DistillationSettings(Group):
    """Whether a teacher's output is part of the loss."""

    teacher: str | None = None
    """Run folder, .keras file, SavedModel or name of a published model to distil from."""
    distillation: Literal["none", "soft", "hard"] = "none"
    """DeiT's two forms (arXiv:2012.12877, Eq. 2 and 3)."""
    distillation_alpha: float = 0.5
    """Weight of the distillation term in the loss."""
    distillation_tau: float = 1.0
    """Temperature of soft distillation."""

    def __post_init__(self):
        super().__post_init__()
        up_to_one(self, "distillation_alpha")
        above_zero(self, "distillation_tau")
        if (self.teacher is None) != (self.distillation == "none"):
            raise ValueError(
                "teacher and distillation go together: give both, or neither. "
                f"Received: teacher={self.teacher!r}, distillation={self.distillation!r}."
            )


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings(Group):
    """How training images are changed. Fractions and probabilities are in [0, 1], angles in degrees."""

    shift: float = 0.0
    """Random shift, up to this fraction of the side."""
    rotate: float = 0.0
    """Random rotation, up to this many degrees either way."""
    zoom: float = 0.0
    """Random zoom, between 1 - zoom and 1 + zoom."""
    shear: float = 0.0
    """Random shear, up to this many degrees either way."""
    fill: Literal["reflect", "nearest", "black"] = "reflect"
    """What fills the area beyond the edge of a moved image."""
    scale: tuple[float, float] | None = None
    """Random resized crop: smallest and largest area, as fractions of the image's; None resizes and crops as in
    evaluation."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Random resized crop: smallest and largest width over height."""
    train_interpolation: Literal["bilinear", "bicubic", "random"] = "random"
    """Random resized crop: interpolation; "random" draws one of the two."""
    hflip: float = 0.0
    """Probability of a horizontal flip."""
    color_jitter: float = 0.0
    """Brightness, contrast and saturation change by up to this factor; ignored if `aa` is given."""
    aa: str | None = None
    """RandAugment in timm's notation: "rand-m9-n2-mstd0.5-inc1"."""
    reprob: float = 0.0
    """Probability of random erasing."""
    mixup: float = 0.0
    """MixUp: alpha of the Beta distribution; 0 for none."""
    cutmix: float = 0.0
    """CutMix: alpha of the Beta distribution; 0 for none."""
    mixup_prob: float = 1.0
    """Probability that a pair of images is mixed, if mixup or cutmix is above 0."""
    mixup_switch_prob: float = 0.5
    """Probability of CutMix if both are above 0."""
    aug_repeats: int = 1
    """Repeated augmentation: differently augmented copies of an image per batch."""

    def __post_init__(self):
        super().__post_init__()
        above_zero(self, "aug_repeats")
        at_least_zero(self, "rotate", "shear", "mixup", "cutmix", "color_jitter")
        below_one(self, "shift", "zoom")
        up_to_one(self, "hflip", "reprob", "mixup_prob", "mixup_switch_prob")
        for name in ("scale", "ratio"):
            limits = getattr(self, name)
            if limits is not None and not 0 < limits[0] <= limits[1]:
                raise ValueError(f"{name} must be a range above 0, the smaller value first. Received: {limits}.")
        if self.scale is not None and self.scale[1] > 1:
            raise ValueError(f"scale is a fraction of the image, at most 1. Received: {self.scale}.")


@dataclass(frozen=True, kw_only=True)
class RunSettings(Group):
    """How a run computes, selects its best epoch, and is saved."""

    eval_metric: Literal["top1", "loss", "balanced_accuracy", "macro_f1", "micro_f1", "map"] = "top1"
    """What selects the best epoch on the validation split, ties broken by the loss; the loss distinguishes more where
    that split is small. Of images with several labels there is no top1, and map (mean average precision) takes its
    place; micro_f1 and map are for these only."""
    temperature_scaling: bool = False
    """Fit a temperature on the validation split at the end (arXiv:1706.04599) and divide the saved model's logits by
    it, so that its probabilities say how often it is right."""
    unknown_score: Literal["none", "energy", "max_logit"] = "none"
    """Score by which the saved model can say that an image is of none of its classes: energy (arXiv:2010.03759), or
    the largest logit. Its threshold is set on the validation split."""
    known_fraction: float = 0.95
    """Fraction of the validation images whose score is above that threshold."""
    early_stopping: int = 0
    """End the run after this many epochs without a better one by eval_metric; 0 for never."""
    log: str = "csv,tensorboard"
    """Where the numbers of every epoch go, several joined by commas: csv (summary.csv, which is always written),
    tensorboard, wandb, mlflow."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """bfloat16 and float16 are mixed precision: weights stay float32. float16 scales the loss."""
    grad_checkpointing: bool = False
    """Compute each block a second time for its gradients, instead of keeping what is in it: less memory, more time."""
    xla: bool = True
    """Compile the forward and backward pass with XLA on GPUs. CPUs run TensorFlow's graph, which is faster there."""
    deterministic: bool = False
    """Make TensorFlow use deterministic operations: the same bits every time."""
    seed: int = 0
    """Seed of the initial weights, the division into splits, the order of the images and their augmentation."""
    recovery_interval: int = 0
    """Updates between two checkpoints within an epoch; 0 for none by count."""
    recovery_minutes: float = 10.0
    """Minutes between two checkpoints within an epoch; 0 for none by time."""
    checkpoint_hist: int = 2
    """Checkpoints to keep for resuming, the newest."""
    average_hist: int = 0
    """Epochs whose weights are kept for `keras-vit validate --average`: as many of the newest, and as many of the best;
    0 for none."""
    watchdog_minutes: float = 15.0
    """After this long without an update the stacks of all threads are written to the run folder; 0 for never."""

    def __post_init__(self):
        super().__post_init__()
        above_zero(self, "checkpoint_hist")
        at_least_zero(self, "recovery_interval", "recovery_minutes", "watchdog_minutes")
        at_least_zero(self, "early_stopping", "average_hist")
        for name in self.loggers:
            if name not in LOGGERS:
                raise ValueError(
                    f"log names loggers, joined by commas: {', '.join(LOGGERS)}. Received: {self.log!r}."
                    f"{closest(name, LOGGERS)}"
                )
        if not 0 < self.known_fraction < 1:
            raise ValueError(f"known_fraction must lie between 0 and 1. Received: {self.known_fraction}.")

    @property
    def loggers(self):
        """The names in `log`, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.log.split(",")))

    def rank(self, row):
        """Sort key of a row of the history by `eval_metric`; the best epoch has the highest."""
        name = "eval_map" if self.eval_metric == "top1" and "eval_map" in row else f"eval_{self.eval_metric}"
        return (0.0 if self.eval_metric == "loss" else row[name], -row["eval_loss"])

    def ends_early(self, history):
        """Whether `early_stopping` epochs have passed since the best of a history (rows, one per finished epoch)."""
        if not (self.early_stopping and history):
            return False
        return history[-1]["epoch"] - max(history, key=self.rank)["epoch"] >= self.early_stopping


@dataclass(frozen=True, kw_only=True)
class ClusterSettings(Group):
    """Which workers a run has, and how long they wait for each other."""

    cluster: Literal["auto", "none"] = "auto"
    """auto: the workers that TF_CONFIG, Slurm, Open MPI, Kubernetes or Kubeflow name; none: this process alone."""
    hosts: str | None = None
    """Hosts of the workers in the order of their indices, where the environment does not have them (Open MPI, indexed
    Jobs of Kubernetes): host0,host1 or gpu[01-04], each perhaps with :port."""
    worker_port: int = 0
    """First worker's port on each host, the next take the next ones; 0: by the scheduler's job number, else 2222."""
    worker_timeout: float = 600.0
    """Seconds that a worker waits at the start for the others before it gives up."""
    worker_silence: float = 45.0
    """Seconds without a sign of life after which another worker counts as lost, and the run ends with an error."""

    def __post_init__(self):
        super().__post_init__()
        above_zero(self, "worker_timeout", "worker_silence")
        if not 0 <= self.worker_port < 2**16:
            raise ValueError(f"worker_port must lie between 0 and 65535. Received: {self.worker_port}.")


GROUPS = {
    "model": ModelSettings,
    "data": DataSettings,
    "optimizer": OptimizerSettings,
    "loss": LossSettings,
    "distillation": DistillationSettings,
    "augmentation": AugmentationSettings,
    "run": RunSettings,
    "cluster": ClusterSettings,
}


@dataclass(frozen=True, kw_only=True)
class Settings(  # dataclasses list the fields of the last base first: in the order of GROUPS
    ClusterSettings,
    RunSettings,
    AugmentationSettings,
    DistillationSettings,
    LossSettings,
    OptimizerSettings,
    DataSettings,
    ModelSettings,
):
    """Every option of a run, named as in timm where timm has it."""
