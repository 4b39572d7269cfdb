//! The ops of summaries, node for node as `tf.summary` makes them.

use crate::error::Result;
use crate::graph::{CollectionItem, Graph, NameScope, Output, keys};
use crate::ops::Arg;
use crate::proto::{SummaryMetadata, summary_metadata::PluginData};
use crate::tensor::{DType, Tensor};
use prost::Message;

/// What all summaries have in common.
#[derive(Clone, Debug, Default)]
pub struct SummaryOptions {
    /// The collections that the summary is added to; [`keys::SUMMARIES`] unless said otherwise.
    pub collections: Option<Vec<String>>,
    /// Put before the tag, by which TensorBoard groups.
    pub family: Option<String>,
    /// A long description, in Markdown; of [`tensor_summary`] alone.
    pub summary_description: Option<String>,
    /// The name that TensorBoard shows; of [`tensor_summary`] alone.
    pub display_name: Option<String>,
    /// Which plugin of TensorBoard shows the values, and more; of [`tensor_summary`] alone.
    pub summary_metadata: Option<SummaryMetadata>,
}

/// A name with characters that tags have: others become underscores.
fn clean_tag(name: &str) -> String {
    let is_allowed = |c: char| c.is_alphanumeric() || "_-/.".contains(c);
    let cleaned: String = name.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect();
    let cleaned = cleaned.trim_start_matches('/');
    if cleaned != name {
        tracing::info!("Summary name {name} is illegal; using {cleaned} instead.");
    }
    cleaned.to_string()
}

/// Opens the scope of a summary; returns it with the tag.
fn enter(g: &Graph, name: &str, family: Option<&str>) -> Result<(NameScope, String)> {
    let (name, family) = (clean_tag(name), family.map(clean_tag));
    let scope = match &family {
        Some(family) => g.name_scope(&format!("{family}/{name}"))?,
        None => g.name_scope(&name)?,
    };
    let own = scope.name().trim_end_matches('/');
    let tag = family.map_or_else(|| own.to_string(), |family| format!("{family}/{own}"));
    Ok((scope, tag))
}

fn collect(g: &Graph, options: &SummaryOptions, summary: Output) -> Output {
    let default = [keys::SUMMARIES.to_string()];
    for key in options.collections.as_deref().unwrap_or(&default) {
        g.add_to_collection(key, CollectionItem::Tensor(summary));
    }
    summary
}

/// A scalar over time (`tf.summary.scalar`); the name is the tag.
///
/// # Errors
/// `InvalidArgument` for values that aren't real numbers.
pub fn scalar(g: &Graph, name: &str, tensor: impl Into<Arg>) -> Result<Output> {
    scalar_with(g, name, tensor, &SummaryOptions::default())
}

/// [`scalar`] with options.
///
/// # Errors
/// As [`scalar`].
pub fn scalar_with(g: &Graph, name: &str, tensor: impl Into<Arg>, options: &SummaryOptions) -> Result<Output> {
    let (scope, tag) = enter(g, name, options.family.as_deref())?;
    let summary = g.named(scope.name()).call("ScalarSummary").arg(tag.as_str()).arg(tensor).output()?;
    Ok(collect(g, options, summary))
}

/// The distribution of values over time (`tf.summary.histogram`). Running it with values that aren't finite is an error.
///
/// # Errors
/// `InvalidArgument` for values that aren't real numbers.
pub fn histogram(g: &Graph, name: &str, values: impl Into<Arg>) -> Result<Output> {
    histogram_with(g, name, values, &SummaryOptions::default())
}

/// [`histogram`] with options.
///
/// # Errors
/// As [`histogram`].
pub fn histogram_with(g: &Graph, name: &str, values: impl Into<Arg>, options: &SummaryOptions) -> Result<Output> {
    let (scope, tag) = enter(g, name, options.family.as_deref())?;
    let summary = g.named(scope.name()).call("HistogramSummary").arg(tag.as_str()).arg(values).output()?;
    Ok(collect(g, options, summary))
}

/// Up to three images of a batch `[batch, height, width, channels]` of 1, 3 or 4 channels (`tf.summary.image`). Floats are
/// scaled to what a pixel can be, bytes stay.
///
/// # Errors
/// `InvalidArgument` for values of another dtype.
pub fn image(g: &Graph, name: &str, tensor: impl Into<Arg>) -> Result<Output> {
    image_with(g, name, tensor, 3, &SummaryOptions::default())
}

/// [`image`] with another number of images, and options.
///
/// # Errors
/// As [`image`].
pub fn image_with(g: &Graph, name: &str, tensor: impl Into<Arg>, max_outputs: i64, options: &SummaryOptions) -> Result<Output> {
    let (scope, tag) = enter(g, name, options.family.as_deref())?;
    let call = g.named(scope.name()).call("ImageSummary").arg(tag.as_str()).arg(tensor);
    let summary = call.attr("max_images", max_outputs).output()?;
    Ok(collect(g, options, summary))
}

/// Up to three sounds of a batch `[batch, frames]` or `[batch, frames, channels]` of samples between -1 and 1
/// (`tf.summary.audio`).
///
/// # Errors
/// `InvalidArgument` for values of another dtype.
pub fn audio(g: &Graph, name: &str, tensor: impl Into<Arg>, sample_rate: impl Into<Arg>) -> Result<Output> {
    audio_with(g, name, tensor, sample_rate, 3, &SummaryOptions::default())
}

/// [`audio`] with another number of sounds, and options.
///
/// # Errors
/// As [`audio`].
pub fn audio_with(
    g: &Graph,
    name: &str,
    tensor: impl Into<Arg>,
    sample_rate: impl Into<Arg>,
    max_outputs: i64,
    options: &SummaryOptions,
) -> Result<Output> {
    let (scope, tag) = enter(g, name, options.family.as_deref())?;
    let rate = g.convert_to_tensor(sample_rate, Some(DType::Float), "sample_rate")?;
    let call = g.named(scope.name()).call("AudioSummaryV2").arg(tag.as_str()).arg(tensor).arg(rate);
    let summary = call.attr("max_outputs", max_outputs).output()?;
    Ok(collect(g, options, summary))
}

/// Text, in Markdown (`tf.summary.text`): a string, or a table of up to two dimensions.
///
/// # Errors
/// `InvalidArgument` for values that aren't strings.
pub fn text(g: &Graph, name: &str, tensor: impl Into<Arg>) -> Result<Output> {
    text_with(g, name, tensor, &SummaryOptions::default())
}

/// [`text`] with options, of which the family doesn't count.
///
/// # Errors
/// As [`text`].
pub fn text_with(g: &Graph, name: &str, tensor: impl Into<Arg>, options: &SummaryOptions) -> Result<Output> {
    let tensor = g.convert_to_tensor(tensor, Some(DType::String), "Const")?;
    let plugin = PluginData { plugin_name: "text".to_string(), ..PluginData::default() };
    let options = SummaryOptions {
        collections: options.collections.clone(),
        summary_metadata: Some(SummaryMetadata { plugin_data: Some(plugin), ..SummaryMetadata::default() }),
        ..SummaryOptions::default()
    };
    tensor_summary(g, name, tensor, &options)
}

/// A tensor of any dtype and shape (`tf.summary.tensor_summary`).
///
/// # Errors
/// `InvalidArgument` for a name that no scope may have.
pub fn tensor_summary(g: &Graph, name: &str, tensor: impl Into<Arg>, options: &SummaryOptions) -> Result<Output> {
    let mut metadata = options.summary_metadata.clone().unwrap_or_default();
    if let Some(description) = &options.summary_description {
        metadata.summary_description.clone_from(description);
    }
    if let Some(name) = &options.display_name {
        metadata.display_name.clone_from(name);
    }
    let (scope, tag) = enter(g, name, options.family.as_deref())?;
    let metadata = Tensor::string(metadata.encode_to_vec());
    let summary = g.named(scope.name()).call("TensorSummaryV2").arg(tag.as_str()).arg(tensor).arg(metadata).output()?;
    Ok(collect(g, options, summary))
}

/// One summary of several (`tf.summary.merge`). The name of [`Graph::named`] or `Merge` is that of the scope.
///
/// # Errors
/// `InvalidArgument` where there are none.
pub fn merge(g: &Graph, inputs: &[Output]) -> Result<Output> {
    let name = g.pending_name().map(clean_tag);
    let plain = g.plain();
    let _scope = plain.name_scope(name.as_deref().unwrap_or("Merge"))?;
    let node = plain.named(name.as_deref().unwrap_or("MergeSummary"));
    node.op("MergeSummary").input_list(inputs).output()
}

/// One summary of all in the collection [`keys::SUMMARIES`] (`tf.summary.merge_all`), none where there are none.
///
/// # Errors
/// As [`merge`].
pub fn merge_all(g: &Graph) -> Result<Option<Output>> {
    merge_all_in(g, keys::SUMMARIES, None)
}

/// One summary of all in a collection; with a scope, of those whose name begins with it.
///
/// # Errors
/// As [`merge`].
pub fn merge_all_in(g: &Graph, key: &str, scope: Option<&str>) -> Result<Option<Output>> {
    let tensor = |item: CollectionItem| match item {
        CollectionItem::Tensor(tensor) => Some(tensor),
        _ => None,
    };
    let is_within = |t: &Output| scope.is_none_or(|s| g.tensor_name(*t).starts_with(s));
    let summaries: Vec<Output> = g.get_collection(key).into_iter().filter_map(tensor).filter(is_within).collect();
    if summaries.is_empty() { Ok(None) } else { merge(g, &summaries).map(Some) }
}
