//! The names of the standard collections (`tf.GraphKeys`).

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $value;)*
    };
}

keys! {
    /// Variables that are saved and shared: the default of new variables.
    GLOBAL_VARIABLES = "variables";
    /// Variables that are local to a process, such as counters; not saved.
    LOCAL_VARIABLES = "local_variables";
    /// Variables that collect metrics.
    METRIC_VARIABLES = "metric_variables";
    /// Variables that a model uses for inference.
    MODEL_VARIABLES = "model_variables";
    /// Variables that an optimizer trains.
    TRAINABLE_VARIABLES = "trainable_variables";
    /// Variables of which moving averages are kept.
    MOVING_AVERAGE_VARIABLES = "moving_average_variables";
    /// Summary operations.
    SUMMARIES = "summaries";
    /// Queue runners.
    QUEUE_RUNNERS = "queue_runners";
    /// Operations that initialize tables.
    TABLE_INITIALIZERS = "table_initializer";
    /// Assets of an exported model.
    ASSET_FILEPATHS = "asset_filepaths";
    /// Losses of regularization.
    REGULARIZATION_LOSSES = "regularization_losses";
    /// Savers.
    SAVERS = "savers";
    /// Weights of layers.
    WEIGHTS = "weights";
    /// Biases of layers.
    BIASES = "biases";
    /// Activations of layers.
    ACTIVATIONS = "activations";
    /// Operations that update state beside the training operation.
    UPDATE_OPS = "update_ops";
    /// Losses.
    LOSSES = "losses";
    /// Objects beside variables that are saved.
    SAVEABLE_OBJECTS = "saveable_objects";
    /// Resources that are initialized.
    RESOURCES = "resources";
    /// Resources that are local to a process.
    LOCAL_RESOURCES = "local_resources";
    /// The operation that initializes all.
    INIT_OP = "init_op";
    /// The operation that initializes what is local.
    LOCAL_INIT_OP = "local_init_op";
    /// The operation that says what isn't ready.
    READY_OP = "ready_op";
    /// The merged summary operation.
    SUMMARY_OP = "summary_op";
    /// The counter of training steps.
    GLOBAL_STEP = "global_step";
    /// Training operations.
    TRAIN_OP = "train_op";
    /// Contexts of conditionals.
    COND_CONTEXT = "cond_context";
    /// Contexts of loops.
    WHILE_CONTEXT = "while_context";
}
