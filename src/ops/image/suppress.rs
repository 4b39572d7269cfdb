//! Non-maximum suppression: of boxes that overlap, the ones with the highest scores.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape, Tensor, dispatch};
use num_traits::{AsPrimitive, Float};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

const T: &str = "T: {half, float} = DT_FLOAT";
const T_THRESHOLD: &str = "T_threshold: {half, float} = DT_FLOAT";
const PAD: &str = "pad_to_max_output_size: bool = false";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "NonMaxSuppression",
        ins: &["boxes: float", "scores: float", "max_output_size: int32"],
        outs: &["selected_indices: int32"],
        attrs: &["iou_threshold: float = 0.5"],
        shape,
        kernel: Kernel::Pure(kernel),
        grad: Grad::None("selects"),
        rows: &["f32[[0 0 1 1] [0 0.1 1 1.1] [0 2 1 3]], f32[0.5 0.9 0.7], i32 3 => i32[1 2]"],
    },
    Op {
        name: "NonMaxSuppressionV2",
        ins: &["boxes: T", "scores: T", "max_output_size: int32", "iou_threshold: T_threshold"],
        outs: &["selected_indices: int32"],
        attrs: &[T, T_THRESHOLD],
        shape,
        kernel: Kernel::Pure(kernel),
        grad: Grad::None("selects"),
        rows: &[
            "f16[[0 0 1 1] [0 0.1 1 1.1] [1 3 0 2]], f16[0.5 0.9 0.7], i32 3, f32 0.5 => i32[1 2]",
            "f32[[0 0 1 1] [2 2 3 3]], f32[0.5 0.5], i32 3, f32 0 => i32[0 1]",
        ],
    },
    Op {
        name: "NonMaxSuppressionV3",
        ins: &["boxes: T", "scores: T", "max_output_size: int32", "iou_threshold: T_threshold", "score_threshold: T_threshold"],
        outs: &["selected_indices: int32"],
        attrs: &[T, T_THRESHOLD],
        shape,
        kernel: Kernel::Pure(kernel),
        grad: Grad::Missing,
        rows: &["f32[[0 0 1 1] [0 0.1 1 1.1] [0 2 1 3]], f32[0.5 0.9 0.3], i32 3, f32 0.95, f32 0.4 => i32[1 0]"],
    },
    Op {
        name: "NonMaxSuppressionV4",
        ins: &["boxes: T", "scores: T", "max_output_size: int32", "iou_threshold: T_threshold", "score_threshold: T_threshold"],
        outs: &["selected_indices: int32", "valid_outputs: int32"],
        attrs: &[T, T_THRESHOLD, PAD],
        shape: padded_shape,
        kernel: Kernel::Pure(kernel),
        grad: Grad::Missing,
        rows: &["pad_to_max_output_size=true; f32[[0 0 1 1] [0 0.1 1 1.1] [0 2 1 3]], f32[0.5 0.9 0.7], i32 4, f32 0.5, f32 0 \
             => i32[1 2 0 0], i32 2"],
    },
    Op {
        name: "NonMaxSuppressionV5",
        ins: &["boxes: T", "scores: T", "max_output_size: int32", "iou_threshold: T", "score_threshold: T", "soft_nms_sigma: T"],
        outs: &["selected_indices: int32", "selected_scores: T", "valid_outputs: int32"],
        attrs: &[T, PAD],
        shape: padded_shape,
        kernel: Kernel::Pure(kernel),
        grad: Grad::Missing,
        rows: &["f32[[0 0 1 1] [0 0.5 1 1.5] [0 2 1 3]], f32[0.5 0.9 0.7], i32 3, f32 0.5, f32 0, f32 0.5 \
             => i32[1 2 0], f32[0.9 0.7 0.447420], i32 3"],
    },
    Op {
        name: "NonMaxSuppressionWithOverlaps",
        ins: &[
            "overlaps: float",
            "scores: float",
            "max_output_size: int32",
            "overlap_threshold: float",
            "score_threshold: float",
        ],
        outs: &["selected_indices: int32"],
        attrs: &[],
        shape: |ctx| {
            let overlaps = ctx.input(0).with_rank(2)?;
            let count = Shape::vector(overlaps.dim(0)).merge(&ctx.input(1).with_rank(1)?)?;
            count.merge(&Shape::vector(overlaps.dim(1)))?;
            scalars(ctx, 2)?;
            ctx.set(0, Shape::vector(None))
        },
        kernel: Kernel::Pure(with_overlaps),
        grad: Grad::None("selects"),
        rows: &["f32[[1 0.8 0] [0.8 1 0] [0 0 1]], f32[0.5 0.9 0.7], i32 3, f32 0.5, f32 0.4 => i32[1 2]"],
    },
    Op {
        name: "CombinedNonMaxSuppression",
        ins: &[
            "boxes: float",
            "scores: float",
            "max_output_size_per_class: int32",
            "max_total_size: int32",
            "iou_threshold: float",
            "score_threshold: float",
        ],
        outs: &["nmsed_boxes: float", "nmsed_scores: float", "nmsed_classes: float", "valid_detections: int32"],
        attrs: &["pad_per_class: bool = false", "clip_boxes: bool = true"],
        shape: combined_shape,
        kernel: Kernel::Pure(combined),
        grad: Grad::Missing,
        rows: &[
            "f32[[[[0 0 1 1]] [[0 0.1 1 1.1]] [[0 2 1 3]]]], f32[[[0.5 0.1] [0.9 0.2] [0.7 0.8]]], i32 2, i32 3, f32 0.5, f32 0.15 \
             => f32[[[0 0.1 1 1] [0 1 1 1] [0 1 1 1]]], f32[[0.9 0.8 0.7]], f32[[0 1 0]], i32[3]",
        ],
    },
];

fn scalars(ctx: &InferCtx, from: usize) -> Result<()> {
    (from..ctx.num_inputs()).try_for_each(|i| ctx.input(i).with_rank(0).map(drop))
}

fn shape(ctx: &mut InferCtx) -> Result<()> {
    let boxes = ctx.input(0).merge(&Shape::matrix(None, Some(4)))?;
    Shape::vector(boxes.dim(0)).merge(&ctx.input(1).with_rank(1)?)?;
    scalars(ctx, 2)?;
    ctx.set(0, Shape::vector(None))
}

fn padded_shape(ctx: &mut InferCtx) -> Result<()> {
    shape(ctx)?;
    let size = match ctx.boolean("pad_to_max_output_size")? {
        true => ctx.constant(2).and_then(|v| usize::try_from(v.item_i64().ok()?).ok()),
        false => None,
    };
    let last = ctx.num_outputs() - 1;
    for output in 0..last {
        ctx.set(output, Shape::vector(size))?;
    }
    ctx.set(last, Shape::scalar())
}

/// The part of two boxes' union that is in both. Corners may come in any order.
fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
    let sides = |[y1, x1, y2, x2]: [f32; 4]| [y1.min(y2), x1.min(x2), y1.max(y2), x1.max(x2)];
    let (a, b) = (sides(a), sides(b));
    let area = |[top, left, bottom, right]: [f32; 4]| (bottom - top) * (right - left);
    if area(a) <= 0.0 || area(b) <= 0.0 {
        return 0.0;
    }
    let common = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    common / (area(a) + area(b) - common)
}

/// A box that may be selected. The greatest is the one with the highest score, and of those the first.
struct Candidate<T> {
    index: usize,
    score: T,
    /// The selected boxes before this one have been compared with it.
    compared: usize,
}

impl<T: PartialOrd> Ord for Candidate<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
        by_score.then(other.index.cmp(&self.index))
    }
}

impl<T: PartialOrd> PartialOrd for Candidate<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: PartialOrd> PartialEq for Candidate<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T: PartialOrd> Eq for Candidate<T> {}

/// What is selected, and how.
struct Limits<T> {
    output_size: usize,
    similarity: T,
    score: T,
    /// Above 0, scores fall by similarity rather than boxes being dropped.
    sigma: T,
}

fn select<T: Float>(scores: &[T], limits: &Limits<T>, similarity: impl Fn(usize, usize) -> T) -> (Vec<i32>, Vec<T>) {
    let soft = limits.sigma > T::zero();
    let scale = if soft { (T::one() / (T::one() + T::one())).neg() / limits.sigma } else { T::zero() };
    let candidates = scores.iter().enumerate().filter(|(_, s)| **s > limits.score);
    let mut queue: BinaryHeap<Candidate<T>> = candidates.map(|(index, &score)| Candidate { index, score, compared: 0 }).collect();
    let (mut selected, mut selected_scores) = (Vec::new(), Vec::new());
    while selected.len() < limits.output_size
        && let Some(mut next) = queue.pop()
    {
        let original = next.score;
        let mut dropped = false;
        for j in (next.compared..selected.len()).rev() {
            let similar = similarity(next.index, selected[j] as usize);
            if soft || similar <= limits.similarity {
                next.score = next.score * (scale * similar * similar).exp();
            } else {
                next.score = next.score * T::zero();
            }
            if !soft && similar > limits.similarity {
                dropped = true;
                break;
            }
            if next.score <= limits.score {
                break;
            }
        }
        next.compared = selected.len();
        if dropped {
            continue;
        }
        if next.score == original {
            selected.push(next.index as i32);
            selected_scores.push(next.score);
        } else if next.score > limits.score {
            queue.push(next);
        }
    }
    (selected, selected_scores)
}

fn check_scalar(tensor: &Tensor, name: &str) -> Result<()> {
    if !tensor.is_scalar() {
        bail!(
            InvalidArgument,
            "{name} must be 0-D, got shape {:?} (Shape must be rank 0 but is rank {})",
            tensor.dims(),
            tensor.rank()
        );
    }
    Ok(())
}

fn float_scalar(ctx: &KernelCtx, index: usize, name: &str) -> Result<f32> {
    let value = ctx.input(index)?;
    check_scalar(value, name)?;
    dispatch!(value.dtype(), floats, T => Ok(value.item::<T>()?.as_()))
}

fn output_size(ctx: &KernelCtx) -> Result<usize> {
    let size = ctx.input(2)?;
    check_scalar(size, "max_output_size")?;
    match usize::try_from(size.item::<i32>()?) {
        Ok(size) => Ok(size),
        Err(_) => bail!(InvalidArgument, "output size must be non-negative"),
    }
}

fn check_scores(scores: &Tensor, count: usize) -> Result<()> {
    if scores.rank() != 1 {
        bail!(InvalidArgument, "scores must be 1-D{:?} (Shape must be rank 1 but is rank {})", scores.dims(), scores.rank());
    }
    if scores.len() != count {
        bail!(InvalidArgument, "scores has incompatible shape (Dimensions must be equal, but are {count} and {})", scores.len());
    }
    Ok(())
}

fn kernel(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let output_size = output_size(ctx)?;
    let (boxes, scores) = (ctx.input(0)?, ctx.input(1)?);
    let inputs = ctx.num_inputs();
    let threshold = if inputs == 3 { node.float("iou_threshold")? } else { float_scalar(ctx, 3, "iou_threshold")? };
    if !(0.0..=1.0).contains(&threshold) {
        bail!(InvalidArgument, "iou_threshold must be in [0, 1]");
    }
    let least = if inputs > 4 { float_scalar(ctx, 4, "score_threshold")? } else { f32::NEG_INFINITY };
    let sigma = if inputs > 5 { float_scalar(ctx, 5, "soft_nms_sigma")? } else { 0.0 };
    if sigma < 0.0 {
        bail!(InvalidArgument, "soft_nms_sigma must be >= 0");
    }
    if boxes.rank() != 2 {
        bail!(InvalidArgument, "boxes must be 2-D{:?} (Shape must be rank 2 but is rank {})", boxes.dims(), boxes.rank());
    }
    if boxes.dims()[1] != 4 {
        bail!(InvalidArgument, "boxes must have 4 columns (Dimension must be 4 but is {})", boxes.dims()[1]);
    }
    check_scores(scores, boxes.dims()[0])?;
    let pad = inputs > 4 && node.attrs.contains_key("pad_to_max_output_size") && node.boolean("pad_to_max_output_size")?;
    dispatch!(boxes.dtype(), floats, T => {
        let corners: Vec<[f32; 4]> = boxes.as_slice::<T>()?.as_chunks::<4>().0.iter().map(|b| b.map(|v| v.as_())).collect();
        let similarity = |a: usize, b: usize| AsPrimitive::<T>::as_(overlap(corners[a], corners[b]));
        let least = if inputs > 4 { least.as_() } else { <T as Float>::min_value() };
        let limits = Limits { output_size, similarity: threshold.as_(), score: least, sigma: sigma.as_() };
        let (mut selected, mut chosen) = select(scores.as_slice::<T>()?, &limits, similarity);
        let valid = selected.len() as i32;
        if pad {
            crate::tensor::Tensor::zeros(DType::Int32, &[output_size])?;
            selected.resize(output_size, 0);
            chosen.resize(output_size, T::default());
        }
        ctx.set(0, Tensor::from(selected))?;
        match ctx.num_outputs() {
            2 => ctx.set(1, Tensor::scalar(valid)),
            3 => {
                ctx.set(1, Tensor::from(chosen))?;
                ctx.set(2, Tensor::scalar(valid))
            }
            _ => Ok(()),
        }
    })
}

fn with_overlaps(ctx: &mut KernelCtx) -> Result<()> {
    let output_size = output_size(ctx)?;
    let (overlaps, scores) = (ctx.input(0)?, ctx.input(1)?);
    let (similarity, score) = (float_scalar(ctx, 3, "overlap_threshold")?, float_scalar(ctx, 4, "score_threshold")?);
    let &[count, columns] = overlaps.dims() else { bail!(InvalidArgument, "overlaps must be 2-D{:?}", overlaps.dims()) };
    if columns != count {
        bail!(InvalidArgument, "overlaps must be square{:?}", overlaps.dims());
    }
    check_scores(scores, count)?;
    let values = overlaps.as_slice::<f32>()?;
    let limits = Limits { output_size, similarity, score, sigma: 0.0 };
    let (selected, _) = select(scores.as_slice::<f32>()?, &limits, |a, b| values[a * count + b]);
    ctx.set(0, Tensor::from(selected))
}

fn combined_shape(ctx: &mut InferCtx) -> Result<()> {
    let (boxes, scores) = (ctx.input(0).with_rank(4)?, ctx.input(1).with_rank(3)?);
    scalars(ctx, 2)?;
    boxes.merge(&Shape::from([None, None, None, Some(4)]))?;
    if let (Some(per_box), Some(classes)) = (boxes.dim(2), scores.dim(2))
        && per_box != 1
        && per_box != classes
    {
        bail!(InvalidArgument, "third dimension of boxes must be either 1 or equal to the third dimension of scores");
    }
    let head = boxes.slice(0, 2).merge(&scores.slice(0, 2))?;
    let constant = |i: usize| ctx.constant(i).and_then(|v| v.item_i64().ok());
    let (per_class, total) = (constant(2), constant(3));
    if total.is_some_and(|t| t <= 0) {
        bail!(InvalidArgument, "max_total_size should be > 0 ");
    }
    if per_class.is_some_and(|c| c <= 0) {
        bail!(InvalidArgument, "max_output_size_per_class should be > 0 ");
    }
    let size = match (ctx.boolean("pad_per_class")?, per_class, total, scores.dim(2)) {
        (false, _, Some(total), _) => Some(total as usize),
        (true, Some(per_class), Some(total), Some(classes)) => {
            Some((total as usize).min((per_class as usize).saturating_mul(classes)))
        }
        _ => None,
    };
    let batch = head.dim(0);
    ctx.set(0, Shape::from([batch, size, Some(4)]))?;
    ctx.set(1, Shape::from([batch, size]))?;
    ctx.set(2, Shape::from([batch, size]))?;
    ctx.set(3, Shape::vector(batch))
}

fn combined(ctx: &mut KernelCtx) -> Result<()> {
    let (boxes, scores) = (ctx.input(0)?, ctx.input(1)?);
    let positive = |i: usize, name: &str| {
        let value = ctx.input(i)?;
        check_scalar(value, name)?;
        match usize::try_from(value.item::<i32>()?) {
            Ok(size) if size > 0 => Ok(size),
            _ => bail!(InvalidArgument, "{name} must be > 0"),
        }
    };
    let (per_class, total) = (positive(2, "max_size_per_class")?, positive(3, "max_total_size")?);
    let (similarity, score) = (float_scalar(ctx, 4, "iou_threshold")?, float_scalar(ctx, 5, "score_threshold")?);
    if !(0.0..=1.0).contains(&similarity) {
        bail!(InvalidArgument, "iou_threshold must be in [0, 1]");
    }
    let &[batch, count, per_box, 4] = boxes.dims() else {
        bail!(InvalidArgument, "boxes must be 4-D with 4 columns, got shape {:?}", boxes.dims());
    };
    let &[score_batch, score_count, classes] = scores.dims() else {
        bail!(InvalidArgument, "scores must be 3-D{:?}", scores.dims());
    };
    if per_box != 1 && per_box != classes {
        bail!(InvalidArgument, "third dimension of boxes must be either 1 or equal to the third dimension of scores");
    }
    if score_batch != batch || score_count != count {
        bail!(InvalidArgument, "scores has incompatible shape: boxes {:?}, scores {:?}", boxes.dims(), scores.dims());
    }
    let (pad, clip) = (ctx.node().boolean("pad_per_class")?, ctx.node().boolean("clip_boxes")?);
    let size = if pad { total.min(per_class.saturating_mul(classes)) } else { total };
    let mut out_boxes = Tensor::zeros(DType::Float, &[batch, size, 4])?;
    let mut out_scores = Tensor::zeros(DType::Float, &[batch, size])?;
    let mut out_classes = Tensor::zeros(DType::Float, &[batch, size])?;
    let mut valid = vec![0i32; batch];
    let (corners, values) = (boxes.as_slice::<f32>()?.as_chunks::<4>().0, scores.as_slice::<f32>()?);
    let limits = Limits { output_size: per_class.min(count), similarity, score, sigma: 0.0 };
    for image in 0..batch {
        let mut found: Vec<(f32, usize, [f32; 4])> = Vec::new();
        for class in 0..classes {
            let corner = |i: usize| corners[(image * count + i) * per_box + if per_box > 1 { class } else { 0 }];
            let own: Vec<f32> = (0..count).map(|i| values[(image * count + i) * classes + class]).collect();
            let (selected, chosen) = select(&own, &limits, |a, b| overlap(corner(a), corner(b)));
            found.extend(selected.iter().zip(chosen).map(|(&i, score)| (score, class, corner(i as usize))));
        }
        found.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal));
        found.truncate(size);
        valid[image] = found.len() as i32;
        for (i, (score, class, corner)) in found.into_iter().enumerate() {
            let at = image * size + i;
            out_scores.as_mut_slice::<f32>()?[at] = score;
            out_classes.as_mut_slice::<f32>()?[at] = class as f32;
            let corner = if clip { corner.map(|v| v.clamp(0.0, 1.0)) } else { corner };
            out_boxes.as_mut_slice::<f32>()?[at * 4..at * 4 + 4].copy_from_slice(&corner);
        }
    }
    ctx.set(0, out_boxes)?;
    ctx.set(1, out_scores)?;
    ctx.set(2, out_classes)?;
    ctx.set(3, Tensor::from(valid))
}

impl Graph {
    /// The indices of boxes `[y1, x1, y2, x2]` in the order of their scores, without those that overlap a box of higher score
    /// by more than `iou_threshold`, or whose score isn't above `score_threshold` (`tf.image.non_max_suppression`).
    ///
    /// # Errors
    /// `InvalidArgument` for boxes that aren't `[n, 4]` or scores that aren't `[n]`.
    pub fn non_max_suppression(
        &self,
        boxes: impl Into<Arg>,
        scores: impl Into<Arg>,
        max_output_size: impl Into<Arg>,
        iou_threshold: f32,
        score_threshold: f32,
    ) -> Result<Output> {
        let (g, _scope) = self.enter("non_max_suppression")?;
        let iou_threshold = g.convert_to_tensor(iou_threshold, None, "iou_threshold")?;
        let score_threshold = g.convert_to_tensor(score_threshold, None, "score_threshold")?;
        let call = g.call("NonMaxSuppressionV3").arg(boxes).arg(scores).arg(max_output_size);
        call.arg(iou_threshold).arg(score_threshold).output()
    }
}
