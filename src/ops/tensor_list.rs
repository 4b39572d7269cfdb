//! TensorLists: the values in which functional loops gather their results.

use super::array::{concat_tensors, zeros_of};
use super::math::select::sum_of;
use super::shape;
use super::tensor_list_grad as grad;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, HandleData, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Dims, Handle, Shape, Tensor, Variant};
use std::any::Any;
use std::sync::Arc;

/// More elements than this are not reserved.
const MOST_ELEMENTS: i64 = 1 << 28;

/// A list of tensors of one dtype whose shapes fit one static shape; elements may be uninitialized.
#[derive(Clone, Debug)]
pub struct TensorList {
    /// The dtype of every element.
    pub dtype: DType,
    /// What is known of every element's shape.
    pub element_shape: Shape,
    /// The most elements that may be pushed; negative for no limit.
    pub max_elements: i64,
    /// The elements.
    pub tensors: Vec<Option<Tensor>>,
}

impl Variant for TensorList {
    fn type_name(&self) -> &'static str {
        "tensorflow::TensorList"
    }

    fn zeros_like(&self) -> Result<Arc<dyn Variant>> {
        let tensors = self.tensors.iter().map(|t| t.as_ref().map(zeros_of).transpose()).collect::<Result<_>>()?;
        Ok(Arc::new(TensorList { tensors, ..self.clone() }))
    }

    fn plus(&self, other: &dyn Variant) -> Result<Arc<dyn Variant>> {
        let Some(other) = (other as &dyn Any).downcast_ref::<TensorList>() else {
            bail!(InvalidArgument, "a TensorList and a {} can't be added", other.type_name())
        };
        if self.dtype != other.dtype {
            bail!(
                InvalidArgument,
                "Trying to add two lists of tensors of different dtypes. One is {} and the other is {}",
                self.dtype,
                other.dtype
            );
        }
        if self.tensors.len() != other.tensors.len() {
            bail!(
                InvalidArgument,
                "Trying to add two lists of tensors with different lengths. One is {} and the other is {}",
                self.tensors.len(),
                other.tensors.len()
            );
        }
        let add = |(a, b): (&Option<Tensor>, &Option<Tensor>)| match (a, b) {
            (Some(a), Some(b)) => sum_of(vec![a.clone(), b.clone()]).map(Some),
            (one, other) => Ok(one.clone().or_else(|| other.clone())),
        };
        let tensors = self.tensors.iter().zip(&other.tensors).map(add).collect::<Result<_>>()?;
        let element_shape = self.element_shape.merge(&other.element_shape)?;
        Ok(Arc::new(TensorList { dtype: self.dtype, element_shape, max_elements: self.max_elements, tensors }))
    }
}

macro_rules! list_ops {
    ($({ $name:literal, $ins:expr => $outs:expr, $attrs:expr, $shape:expr, $kernel:expr, $grad:expr },)*) => {
        &[$(Op { name: $name, ins: $ins, outs: $outs, attrs: $attrs, shape: $shape, kernel: Kernel::Stateful($kernel), grad: $grad, rows: &[] },)*]
    };
}

pub(super) static OPS: &[Op] = list_ops! {
    { "EmptyTensorList", &["element_shape: shape_type", "max_num_elements: int32"] => &["handle: variant"],
      &["element_dtype: type", "shape_type: {int32, int64}"], |ctx| give_list(ctx, 0), empty, Grad::None("an empty list") },
    { "TensorListReserve", &["element_shape: shape_type", "num_elements: int32"] => &["handle: variant"],
      &["element_dtype: type", "shape_type: {int32, int64}"], |ctx| give_list(ctx, 0), reserve, Grad::None("an empty list") },
    { "TensorListPushBack", &["input_handle: variant", "tensor: element_dtype"] => &["output_handle: variant"],
      &["element_dtype: type"], kept_shape, push_back, Grad::Fn(grad::push_back) },
    { "TensorListPushBackBatch", &["input_handles: variant", "tensor: element_dtype"] => &["output_handles: variant"],
      &["element_dtype: type"], kept_shapes, push_back_batch, Grad::None("lists") },
    { "TensorListPopBack", &["input_handle: variant", "element_shape: int32"] => &["output_handle: variant", "tensor: element_dtype"],
      &["element_dtype: type"], pop_back_shape, pop_back, Grad::Fn(grad::pop_back) },
    { "TensorListGetItem", &["input_handle: variant", "index: int32", "element_shape: int32"] => &["item: element_dtype"],
      &["element_dtype: type"], item_shape, get_item, Grad::Fn(grad::get_item) },
    { "TensorListSetItem", &["input_handle: variant", "index: int32", "item: element_dtype"] => &["output_handle: variant"],
      &["element_dtype: type", "resize_if_index_out_of_bounds: bool = false"], kept_shape, set_item, Grad::Fn(grad::set_item) },
    { "TensorListLength", &["input_handle: variant"] => &["length: int32"], &[], shape::scalar, length, Grad::None("an integer") },
    { "TensorListElementShape", &["input_handle: variant"] => &["element_shape: shape_type"],
      &["shape_type: {int32, int64}"], shape_of_shape, list_element_shape, Grad::None("integers") },
    { "TensorListStack", &["input_handle: variant", "element_shape: int32"] => &["tensor: element_dtype"],
      &["element_dtype: type", "num_elements: int = -1"], stack_shape, stack, Grad::Fn(grad::stack) },
    { "TensorListFromTensor", &["tensor: element_dtype", "element_shape: shape_type"] => &["output_handle: variant"],
      &["element_dtype: type", "shape_type: {int32, int64}"], |ctx| give_list(ctx, 1), from_tensor, Grad::Fn(grad::from_tensor) },
    { "TensorListResize", &["input_handle: variant", "size: int32"] => &["output_handle: variant"], &[], kept_shape, resize, Grad::Fn(grad::resize) },
    { "TensorListGather", &["input_handle: variant", "indices: int32", "element_shape: int32"] => &["values: element_dtype"],
      &["element_dtype: type"], gather_shape, gather, Grad::Fn(grad::gather) },
    { "TensorListScatter", &["tensor: element_dtype", "indices: int32", "element_shape: shape_type"] => &["output_handle: variant"],
      &["element_dtype: type", "shape_type: {int32, int64}"], |ctx| give_list(ctx, 2), scatter, Grad::Fn(grad::scatter) },
    { "TensorListScatterV2",
      &["tensor: element_dtype", "indices: int32", "element_shape: shape_type", "num_elements: int32"] => &["output_handle: variant"],
      &["element_dtype: type", "shape_type: {int32, int64}"], |ctx| give_list(ctx, 2), scatter, Grad::Fn(grad::scatter) },
    { "TensorListScatterIntoExistingList",
      &["input_handle: variant", "tensor: element_dtype", "indices: int32"] => &["output_handle: variant"],
      &["element_dtype: type"], kept_shape, scatter_into, Grad::Fn(grad::scatter_into) },
    { "TensorListSplit", &["tensor: element_dtype", "element_shape: shape_type", "lengths: int64"] => &["output_handle: variant"],
      &["element_dtype: type", "shape_type: {int32, int64}"], |ctx| give_list(ctx, 1), split, Grad::Fn(grad::split) },
    { "TensorListConcat", &["input_handle: variant"] => &["tensor: element_dtype", "lengths: int64"],
      &["element_dtype: type", "element_shape: shape = shape?"], concat_shape, concat, Grad::Fn(grad::concat) },
    { "TensorListConcatV2",
      &["input_handle: variant", "element_shape: shape_type", "leading_dims: int64"] => &["tensor: element_dtype", "lengths: int64"],
      &["element_dtype: type", "shape_type: {int32, int64}"], concat_shape, concat, Grad::Fn(grad::concat) },
    { "TensorListConcatLists", &["input_a: variant", "input_b: variant"] => &["output: variant"],
      &["element_dtype: type"], kept_shapes, concat_lists, Grad::None("lists") },
};

/// A new list, the shape of whose elements is the value of an input.
fn give_list(ctx: &mut InferCtx, input: usize) -> Result<()> {
    let data = HandleData { dtype: ctx.dtype("element_dtype")?, shape: ctx.constant_shape(input) };
    ctx.set(0, Shape::scalar())?;
    ctx.set_handle(0, data);
    Ok(())
}

/// The shape of the elements of the list at the first input, as far as it is known.
fn elements(ctx: &InferCtx) -> Result<Shape> {
    let Some(data) = ctx.handle(0) else { return Ok(Shape::unknown()) };
    if ctx.has_attr("element_dtype") && ctx.dtype("element_dtype")? != data.dtype {
        bail!(InvalidArgument, "List has type {} but expected type {}", data.dtype, ctx.dtype("element_dtype")?);
    }
    Ok(data.shape)
}

/// A list with elements like those at the first input.
fn kept_shape(ctx: &mut InferCtx) -> Result<()> {
    kept_shapes(ctx)?;
    ctx.set(0, Shape::scalar())
}

/// Lists with elements like those of the lists at the first input.
fn kept_shapes(ctx: &mut InferCtx) -> Result<()> {
    elements(ctx)?;
    if let Some(data) = ctx.handle(0) {
        ctx.set_handle(0, data);
    }
    ctx.set(0, ctx.input(0))
}

fn pop_back_shape(ctx: &mut InferCtx) -> Result<()> {
    let own = elements(ctx)?;
    kept_shape(ctx)?;
    ctx.set(1, own.merge(&ctx.constant_shape(1)).unwrap_or(own))
}

fn item_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, elements(ctx)?.merge(&ctx.constant_shape(2))?)
}

fn shape_of_shape(ctx: &mut InferCtx) -> Result<()> {
    let rank = elements(ctx)?.rank();
    ctx.set(0, rank.map_or(Shape::unknown(), |rank| Shape::vector(Some(rank))))
}

fn stack_shape(ctx: &mut InferCtx) -> Result<()> {
    let count = usize::try_from(ctx.int("num_elements")?).ok();
    ctx.set(0, Shape::vector(count).concatenate(&elements(ctx)?.merge(&ctx.constant_shape(1))?))
}

fn gather_shape(ctx: &mut InferCtx) -> Result<()> {
    let count = ctx.input(1).with_rank(1)?.dim(0);
    ctx.set(0, Shape::vector(count).concatenate(&elements(ctx)?.merge(&ctx.constant_shape(2))?))
}

fn concat_shape(ctx: &mut InferCtx) -> Result<()> {
    let stated = if ctx.num_inputs() > 1 { ctx.constant_shape(1) } else { ctx.shape_attr("element_shape")? };
    let part = elements(ctx)?.merge(&stated)?;
    let whole = part.rank().filter(|&rank| rank > 0).map(|rank| Shape::vector(None).concatenate(&part.slice(1, rank as isize)));
    ctx.set(0, whole.unwrap_or_default())?;
    ctx.set(1, Shape::vector(None))
}

/// A shape from a tensor: -1 for one about which nothing is known, else a vector of sizes.
fn shape_from(tensor: &Tensor) -> Result<Shape> {
    let sizes = tensor.to_i64s()?;
    match tensor.rank() {
        0 if sizes[0] == -1 => Ok(Shape::unknown()),
        0 => bail!(InvalidArgument, "The only valid scalar shape tensor is the fully unknown shape specified as -1."),
        1 => match sizes.iter().find(|&&s| s < -1) {
            Some(size) => bail!(InvalidArgument, "Dimension {size} must be >= -1"),
            None => Ok(Shape::from_signed(sizes.iter().copied())),
        },
        _ => bail!(InvalidArgument, "Shape must be at most rank 1 but is rank {}", tensor.rank()),
    }
}

fn is_list(handle: &Handle) -> Result<Arc<TensorList>> {
    let Handle::Variant(variant) = handle else { bail!(InvalidArgument, "Input handle is not a list. Saw: {handle:?}") };
    let name = variant.type_name();
    let any: Arc<dyn Any + Send + Sync> = variant.clone();
    any.downcast().map_err(|_| Error::invalid_argument(format!("Input handle is not a list. Saw: '{name}'")))
}

/// The list at an input.
fn list(ctx: &KernelCtx, input: usize) -> Result<Arc<TensorList>> {
    match ctx.input(input)?.handles()? {
        [handle] => is_list(handle),
        handles => bail!(InvalidArgument, "Input handle must be a scalar, got {} elements", handles.len()),
    }
}

/// The list at an input, to be changed: its own where nothing else holds it, else a copy.
fn take_list(ctx: &mut KernelCtx, input: usize) -> Result<TensorList> {
    let mut handles = ctx.take(input)?.into_handles()?;
    let (Some(Handle::Variant(variant)), true) = (handles.pop(), handles.is_empty()) else {
        bail!(InvalidArgument, "Input handle is not a list")
    };
    let any: Arc<dyn Any + Send + Sync> = variant;
    let list = any.downcast::<TensorList>().map_err(|_| Error::invalid_argument("Input handle is not a list"))?;
    Ok(Arc::unwrap_or_clone(list))
}

fn set_list(ctx: &mut KernelCtx, output: usize, list: TensorList) -> Result<()> {
    ctx.set(output, Tensor::variant(Arc::new(list)))
}

fn check_dtype(list: &TensorList, ctx: &KernelCtx) -> Result<()> {
    let dtype = ctx.node().dtype("element_dtype")?;
    if dtype != list.dtype {
        bail!(InvalidArgument, "Invalid data types; op elements {dtype} but list elements {}", list.dtype);
    }
    Ok(())
}

fn empty(ctx: &mut KernelCtx) -> Result<()> {
    let max_elements = ctx.int_input(1)?;
    let element_shape = shape_from(ctx.input(0)?)?;
    let dtype = ctx.node().dtype("element_dtype")?;
    set_list(ctx, 0, TensorList { dtype, element_shape, max_elements, tensors: Vec::new() })
}

fn reserve(ctx: &mut KernelCtx) -> Result<()> {
    let count = ctx.int_input(1)?;
    if !(0..=MOST_ELEMENTS).contains(&count) {
        bail!(InvalidArgument, "The num_elements to reserve must be a non negative number, but got {count}");
    }
    let element_shape = shape_from(ctx.input(0)?)?;
    let dtype = ctx.node().dtype("element_dtype")?;
    set_list(ctx, 0, TensorList { dtype, element_shape, max_elements: -1, tensors: vec![None; count as usize] })
}

fn push(list: &mut TensorList, tensor: Tensor) -> Result<()> {
    if tensor.dtype() != list.dtype {
        bail!(InvalidArgument, "Invalid data types; list elements {} but tried to append {}", list.dtype, tensor.dtype());
    }
    if !list.element_shape.accepts(tensor.dims()) {
        bail!(
            InvalidArgument,
            "Tried to append a tensor with incompatible shape to a list. Op element shape: {} list shape: {}",
            tensor.shape(),
            list.element_shape
        );
    }
    if list.max_elements >= 0 && list.tensors.len() as i64 >= list.max_elements {
        bail!(
            InvalidArgument,
            "Tried to push item into a full list list size: {} max_num_elements: {}",
            list.tensors.len(),
            list.max_elements
        );
    }
    list.tensors.push(Some(tensor));
    Ok(())
}

fn push_back(ctx: &mut KernelCtx) -> Result<()> {
    let tensor = ctx.take(1)?;
    let mut list = take_list(ctx, 0)?;
    push(&mut list, tensor)?;
    set_list(ctx, 0, list)
}

fn push_back_batch(ctx: &mut KernelCtx) -> Result<()> {
    let tensor = ctx.take(1)?;
    let handles = ctx.take(0)?;
    if tensor.rank() < 1 || handles.dims() != &tensor.dims()[..1] {
        bail!(
            InvalidArgument,
            "Expected tensor.shape[0] to equal the batch size, got shape {:?} for lists {:?}",
            tensor.dims(),
            handles.dims()
        );
    }
    let dims = Dims::from_slice(handles.dims());
    let mut out = Vec::with_capacity(handles.len());
    for (row, handle) in handles.handles()?.iter().enumerate() {
        let mut list = Arc::unwrap_or_clone(is_list(handle)?);
        push(&mut list, tensor.row(row)?)?;
        out.push(Handle::Variant(Arc::new(list)));
    }
    ctx.set(0, Tensor::from_handles(DType::Variant, &dims, out)?)
}

/// The shape of uninitialized elements: what list and op know, and the shapes of the elements that are there.
fn full_element_shape(list: &TensorList, stated: &Shape) -> Result<Shape> {
    let mut shape = list.element_shape.merge(stated)?;
    if !shape.is_fully_known() {
        for tensor in list.tensors.iter().flatten() {
            shape = shape.merge(&tensor.shape())?;
        }
    }
    Ok(shape)
}

fn zeros(list: &TensorList, shape: &Shape) -> Result<Tensor> {
    match shape.to_dims() {
        Some(dims) => Tensor::zeros(list.dtype, &dims),
        None => bail!(InvalidArgument, "Trying to read an uninitialized element but element_shape is not fully defined: {shape}"),
    }
}

fn checked(list: &TensorList, tensor: &Tensor, stated: &Shape) -> Result<Tensor> {
    if !stated.accepts(tensor.dims()) {
        bail!(
            InvalidArgument,
            "Incompatible shapes during merge: an element has {}, the op states {stated} (list of {})",
            tensor.shape(),
            list.dtype
        );
    }
    Ok(tensor.clone())
}

fn pop_back(ctx: &mut KernelCtx) -> Result<()> {
    let stated = shape_from(ctx.input(1)?)?;
    let mut list = take_list(ctx, 0)?;
    check_dtype(&list, ctx)?;
    let Some(last) = list.tensors.pop() else { bail!(InvalidArgument, "Trying to pop from an empty list.") };
    let tensor = match last {
        Some(tensor) => checked(&list, &tensor, &stated)?,
        None => zeros(&list, &full_element_shape(&list, &stated)?)?,
    };
    set_list(ctx, 0, list)?;
    ctx.set(1, tensor)
}

fn get_item(ctx: &mut KernelCtx) -> Result<()> {
    let list = list(ctx, 0)?;
    check_dtype(&list, ctx)?;
    let index = ctx.int_input(1)?;
    let stated = shape_from(ctx.input(2)?)?;
    let Some(item) = usize::try_from(index).ok().and_then(|i| list.tensors.get(i)) else {
        bail!(InvalidArgument, "Trying to access element {index} in a list with {} elements.", list.tensors.len())
    };
    let item = match item {
        Some(tensor) => checked(&list, tensor, &stated)?,
        None => zeros(&list, &full_element_shape(&list, &stated)?)?,
    };
    ctx.set(0, item)
}

fn set_item(ctx: &mut KernelCtx) -> Result<()> {
    let grows = ctx.node().boolean("resize_if_index_out_of_bounds")?;
    let index = ctx.int_input(1)?;
    let item = ctx.take(2)?;
    let mut list = take_list(ctx, 0)?;
    check_dtype(&list, ctx)?;
    if !list.element_shape.accepts(item.dims()) {
        bail!(
            InvalidArgument,
            "Tried to set a tensor with incompatible shape at a list index. Item element shape: {} list shape: {}",
            item.shape(),
            list.element_shape
        );
    }
    if grows && index >= list.tensors.len() as i64 && index < MOST_ELEMENTS {
        list.tensors.resize(index as usize + 1, None);
    }
    let size = list.tensors.len();
    match usize::try_from(index).ok().and_then(|i| list.tensors.get_mut(i)) {
        Some(slot) => *slot = Some(item),
        None => bail!(InvalidArgument, "Trying to modify element {index} in a list with {size} elements."),
    }
    set_list(ctx, 0, list)
}

fn length(ctx: &mut KernelCtx) -> Result<()> {
    let length = list(ctx, 0)?.tensors.len();
    ctx.set(0, Tensor::scalar(length as i32))
}

fn list_element_shape(ctx: &mut KernelCtx) -> Result<()> {
    let list = list(ctx, 0)?;
    let wide = ctx.node().dtype("shape_type")? == DType::Int64;
    let value = match (list.element_shape.signed(), wide) {
        (None, true) => Tensor::scalar(-1i64),
        (None, false) => Tensor::scalar(-1i32),
        (Some(sizes), true) => Tensor::vector(sizes),
        (Some(sizes), false) => Tensor::from(sizes.iter().map(|&s| s as i32).collect::<Vec<i32>>()),
    };
    ctx.set(0, value)
}

/// Tensors of one shape, one behind the other along a new first axis.
fn stacked(tensors: &[Tensor], dtype: DType, element: &[usize]) -> Result<Tensor> {
    let mut dims = vec![tensors.len()];
    dims.extend_from_slice(element);
    if tensors.is_empty() {
        return Tensor::zeros(dtype, &dims);
    }
    let mut rows = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        if tensor.dims() != element {
            bail!(InvalidArgument, "Tried to stack list elements of unequal shapes: {:?} and {element:?}", tensor.dims());
        }
        let mut row = vec![1];
        row.extend_from_slice(element);
        rows.push(tensor.clone().reshaped(&row)?);
    }
    concat_tensors(&rows.iter().collect::<Vec<_>>(), 0)
}

fn stack(ctx: &mut KernelCtx) -> Result<()> {
    let list = list(ctx, 0)?;
    check_dtype(&list, ctx)?;
    let expected = ctx.node().int("num_elements")?;
    if expected != -1 && list.tensors.len() as i64 != expected {
        bail!(
            InvalidArgument,
            "Operation expected a list with {expected} elements but got a list with {} elements.",
            list.tensors.len()
        );
    }
    let shape = full_element_shape(&list, &shape_from(ctx.input(1)?)?)?;
    let Some(dims) = shape.to_dims() else {
        let what =
            if list.tensors.is_empty() { "elements of an empty list" } else { "list which only contains uninitialized tensors" };
        bail!(InvalidArgument, "Tried to stack {what} with non-fully-defined element_shape: {shape}")
    };
    let tensors = list.tensors.iter().map(|t| t.clone().map_or_else(|| zeros(&list, &shape), Ok)).collect::<Result<Vec<_>>>()?;
    ctx.set(0, stacked(&tensors, list.dtype, &dims)?)
}

fn from_tensor(ctx: &mut KernelCtx) -> Result<()> {
    let element_shape = shape_from(ctx.input(1)?)?;
    let tensor = ctx.input(0)?;
    if tensor.rank() == 0 {
        bail!(InvalidArgument, "Tensor must be at least a vector, but saw shape: []");
    }
    if !element_shape.accepts(&tensor.dims()[1..]) {
        bail!(InvalidArgument, "Specified a list with shape {element_shape} from a tensor with shape {:?}", &tensor.dims()[1..]);
    }
    let tensors = (0..tensor.dims()[0]).map(|row| tensor.row(row).map(Some)).collect::<Result<_>>()?;
    let dtype = tensor.dtype();
    set_list(ctx, 0, TensorList { dtype, element_shape, max_elements: -1, tensors })
}

fn resize(ctx: &mut KernelCtx) -> Result<()> {
    let size = ctx.int_input(1)?;
    if !(0..=MOST_ELEMENTS).contains(&size) {
        bail!(InvalidArgument, "TensorListSlice expects size to be non-negative. Got: {size}");
    }
    let mut list = take_list(ctx, 0)?;
    list.tensors.resize(size as usize, None);
    set_list(ctx, 0, list)
}

fn gather(ctx: &mut KernelCtx) -> Result<()> {
    let list = list(ctx, 0)?;
    check_dtype(&list, ctx)?;
    let indices = ctx.input(1)?.to_i64s()?;
    let mut shape = list.element_shape.merge(&shape_from(ctx.input(2)?)?)?;
    for &index in &indices {
        if let Some(Some(tensor)) = usize::try_from(index).ok().and_then(|i| list.tensors.get(i)) {
            shape = shape.merge(&tensor.shape())?;
        }
    }
    let Some(dims) = shape.to_dims() else {
        bail!(InvalidArgument, "Tried to gather elements with a non-fully-defined element_shape: {shape}")
    };
    let mut tensors = Vec::with_capacity(indices.len());
    for &index in &indices {
        let Some(item) = usize::try_from(index).ok().and_then(|i| list.tensors.get(i)) else {
            bail!(InvalidArgument, "Index {index} out o range; list only has {} elements.", list.tensors.len())
        };
        tensors.push(item.clone().map_or_else(|| zeros(&list, &shape), Ok)?);
    }
    ctx.set(0, stacked(&tensors, list.dtype, &dims)?)
}

/// Puts the rows of a tensor at these places of a list.
fn put_rows(list: &mut TensorList, tensor: &Tensor, indices: &[i64]) -> Result<()> {
    if tensor.rank() == 0 {
        bail!(InvalidArgument, "Tensor must be at least a vector, but saw shape: []");
    }
    if !list.element_shape.accepts(&tensor.dims()[1..]) {
        bail!(
            InvalidArgument,
            "Specified a list with shape {} from a tensor with shape {:?}",
            list.element_shape,
            &tensor.dims()[1..]
        );
    }
    if indices.len() != tensor.dims()[0] {
        bail!(
            InvalidArgument,
            "Expected number of indices {} to equal the rows of the tensor {}",
            indices.len(),
            tensor.dims()[0]
        );
    }
    let highest = indices.iter().copied().max().unwrap_or(-1);
    if indices.iter().any(|&i| i < 0) || highest >= MOST_ELEMENTS {
        bail!(InvalidArgument, "Indices in TensorListScatter must all be non-negative.");
    }
    if highest >= list.tensors.len() as i64 {
        list.tensors.resize(highest as usize + 1, None);
    }
    for (row, &index) in indices.iter().enumerate() {
        list.tensors[index as usize] = Some(tensor.row(row)?);
    }
    Ok(())
}

fn scatter(ctx: &mut KernelCtx) -> Result<()> {
    let (tensor, indices) = (ctx.input(0)?.clone(), ctx.input(1)?.to_i64s()?);
    let element_shape = shape_from(ctx.input(2)?)?;
    let stated = if ctx.num_inputs() > 3 { ctx.int_input(3)? } else { -1 };
    if !(-1..=MOST_ELEMENTS).contains(&stated) {
        bail!(InvalidArgument, "TensorListScatter expected num_elements >= -1, found: {stated}");
    }
    let highest = indices.iter().copied().max().unwrap_or(-1);
    if stated >= 0 && highest >= stated {
        bail!(InvalidArgument, "TensorListScatter: Trying to scatter at index {highest} in list with size {stated}");
    }
    let mut list =
        TensorList { dtype: tensor.dtype(), element_shape, max_elements: -1, tensors: vec![None; stated.max(0) as usize] };
    put_rows(&mut list, &tensor, &indices)?;
    set_list(ctx, 0, list)
}

fn scatter_into(ctx: &mut KernelCtx) -> Result<()> {
    let (tensor, indices) = (ctx.input(1)?.clone(), ctx.input(2)?.to_i64s()?);
    let mut list = take_list(ctx, 0)?;
    check_dtype(&list, ctx)?;
    put_rows(&mut list, &tensor, &indices)?;
    set_list(ctx, 0, list)
}

fn split(ctx: &mut KernelCtx) -> Result<()> {
    let element_shape = shape_from(ctx.input(1)?)?;
    let (tensor, lengths) = (ctx.input(0)?, ctx.input(2)?);
    if lengths.rank() != 1 {
        bail!(InvalidArgument, "Expected lengths to be a vector, received shape: {:?}", lengths.dims());
    }
    if tensor.rank() == 0 {
        bail!(InvalidArgument, "Tensor must be at least a vector, but saw shape: []");
    }
    let (Some(rest), lengths) = (tensor.dims().get(1..), lengths.to_i64s()?) else { bail!(Internal, "a vector has no rank") };
    if element_shape.rank() == Some(0) || !element_shape.slice_from(1).accepts(rest) {
        bail!(InvalidArgument, "tensor shape {:?} is not compatible with element_shape {element_shape}", tensor.dims());
    }
    let mut tensors = Vec::with_capacity(lengths.len());
    let mut start = 0usize;
    for &length in &lengths {
        let Ok(count) = usize::try_from(length) else { bail!(InvalidArgument, "Invalid value in lengths: {length}") };
        let end = start.saturating_add(count);
        if end > tensor.dims()[0] {
            bail!(InvalidArgument, "Attempting to slice [{start}, {end}] from tensor with length {}", tensor.dims()[0]);
        }
        tensors.push(Some(tensor.rows(start, count)?));
        start = end;
    }
    if start != tensor.dims()[0] {
        bail!(InvalidArgument, "Unused values in tensor. Length of tensor: {} Values used: {start}", tensor.dims()[0]);
    }
    let dtype = tensor.dtype();
    set_list(ctx, 0, TensorList { dtype, element_shape, max_elements: -1, tensors })
}

fn concat(ctx: &mut KernelCtx) -> Result<()> {
    let list = list(ctx, 0)?;
    check_dtype(&list, ctx)?;
    let stated = if ctx.num_inputs() > 1 { shape_from(ctx.input(1)?)? } else { ctx.node().shape("element_shape")? };
    let leading = if ctx.num_inputs() > 2 { ctx.input(2)?.to_i64s()? } else { Default::default() };
    let merged = list.element_shape.merge(&stated)?;
    let mut rest = merged.slice_from(1);
    for tensor in list.tensors.iter().flatten() {
        if tensor.rank() == 0 {
            bail!(InvalidArgument, "Concat saw a scalar shape at an element but requires at least vectors.");
        }
        rest = rest.merge(&Shape::known(&tensor.dims()[1..]))?;
    }
    let Some(rest) = rest.to_dims() else {
        bail!(
            InvalidArgument,
            "All except the first dimension must be fully defined when concating an empty tensor list. element_shape: {stated}"
        )
    };
    let (mut parts, mut lengths) = (Vec::new(), Vec::new());
    for (index, tensor) in list.tensors.iter().enumerate() {
        let part = match tensor {
            Some(tensor) => tensor.clone(),
            None => {
                let first = leading.get(index).copied().or_else(|| merged.dim(0).map(|d| d as i64));
                let Some(first) = first.and_then(|f| usize::try_from(f).ok()) else {
                    bail!(
                        InvalidArgument,
                        "Concating lists with uninitialized tensors requires the leading dims: element {index}"
                    )
                };
                let mut dims = vec![first];
                dims.extend_from_slice(&rest);
                Tensor::zeros(list.dtype, &dims)?
            }
        };
        lengths.push(part.dims()[0] as i64);
        parts.push(part);
    }
    let mut none = vec![0];
    none.extend_from_slice(&rest);
    let out =
        if parts.is_empty() { Tensor::zeros(list.dtype, &none)? } else { concat_tensors(&parts.iter().collect::<Vec<_>>(), 0)? };
    ctx.set(0, out)?;
    ctx.set(1, Tensor::from(lengths))
}

fn concat_lists(ctx: &mut KernelCtx) -> Result<()> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    if a.dims() != b.dims() {
        bail!(InvalidArgument, "Lists to be concatenated have unequal shapes: {:?} and {:?}", a.dims(), b.dims());
    }
    let join = |(a, b): (&Handle, &Handle)| -> Result<Handle> {
        let (mut list, other) = (Arc::unwrap_or_clone(is_list(a)?), is_list(b)?);
        if list.dtype != other.dtype {
            bail!(InvalidArgument, "input_a and input_b are lists of {} and {}", list.dtype, other.dtype);
        }
        list.element_shape = list.element_shape.merge(&other.element_shape)?;
        list.tensors.extend(other.tensors.iter().cloned());
        Ok(Handle::Variant(Arc::new(list)))
    };
    let joined = a.handles()?.iter().zip(b.handles()?).map(join).collect::<Result<_>>()?;
    let out = Tensor::from_handles(DType::Variant, a.dims(), joined)?;
    ctx.set(0, out)
}
