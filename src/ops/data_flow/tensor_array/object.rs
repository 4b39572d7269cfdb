//! The array itself.

use crate::error::{Result, bail};
use crate::tensor::{DType, Resource, Shape, Tensor, dispatch};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The most elements that an array grows to.
const MAX_SIZE: usize = 1 << 31;

/// An array of tensors. Each element is written once; a gradient's array adds up what is written.
pub(super) struct Array {
    pub name: String,
    pub dtype: DType,
    pub identical_element_shapes: bool,
    pub clear_after_read: bool,
    /// True for the array that holds the gradients of another's elements.
    pub is_grad: bool,
    state: Mutex<State>,
}

struct State {
    elements: Vec<Element>,
    element_shape: Shape,
    dynamic_size: bool,
    /// What was added up can't be told apart again, so such an array has no gradient.
    aggregated: bool,
    /// The number of elements that the forward array was split into.
    marked_size: usize,
    closed: bool,
    /// The arrays of gradients, by the gradient computation that they belong to.
    gradients: HashMap<String, Arc<Array>>,
}

#[derive(Clone, Default)]
struct Element {
    value: Option<Tensor>,
    /// The dimensions of a written element; one that is written without a value is zero.
    dims: crate::tensor::Dims,
    written: bool,
    read: bool,
    cleared: bool,
}

impl Resource for Array {
    fn kind(&self) -> &'static str {
        "TensorArray"
    }
}

/// What a new array is told.
pub(super) struct ArrayOptions {
    pub dtype: DType,
    pub element_shape: Shape,
    pub identical_element_shapes: bool,
    pub dynamic_size: bool,
    pub clear_after_read: bool,
}

impl Array {
    pub fn new(name: String, size: usize, options: ArrayOptions) -> Result<Array> {
        let mut elements = Vec::new();
        if size > MAX_SIZE || elements.try_reserve_exact(size).is_err() {
            bail!(ResourceExhausted, "TensorArray {name}: no memory for {size} elements");
        }
        elements.resize(size, Element::default());
        let state = State {
            elements,
            element_shape: options.element_shape,
            dynamic_size: options.dynamic_size,
            aggregated: false,
            marked_size: 0,
            closed: false,
            gradients: HashMap::new(),
        };
        Ok(Array {
            name,
            dtype: options.dtype,
            identical_element_shapes: options.identical_element_shapes,
            clear_after_read: options.clear_after_read,
            is_grad: false,
            state: Mutex::new(state),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn open(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.closed {
            bail!(InvalidArgument, "TensorArray {} has already been closed.", self.name);
        }
        Ok(state)
    }

    /// The number of elements.
    pub fn size(&self) -> Result<usize> {
        Ok(self.open()?.elements.len())
    }

    /// The number of elements that packing or concatenating all takes.
    pub fn whole_size(&self) -> Result<usize> {
        let state = self.open()?;
        Ok(if self.is_grad { state.marked_size } else { state.elements.len() })
    }

    /// Notes the number of elements that the array was unpacked or split into.
    pub fn mark_size(&self, size: usize) {
        self.lock().marked_size = size;
    }

    pub fn has_dynamic_size(&self) -> bool {
        self.lock().dynamic_size
    }

    /// Says more about the shape of the elements.
    pub fn merge_element_shape(&self, shape: &Shape) -> Result<()> {
        let mut state = self.lock();
        state.element_shape = state.element_shape.merge(shape)?;
        Ok(())
    }

    /// All elements, if each holds a value that can't change any more.
    pub fn written(&self) -> Result<Option<Vec<Tensor>>> {
        if self.is_grad {
            return Ok(None);
        }
        Ok(self.open()?.elements.iter().map(|e| e.value.clone()).collect())
    }

    /// Gives the elements up.
    pub fn close(&self) {
        let mut state = self.lock();
        state.elements = Vec::new();
        state.closed = true;
    }

    /// Writes one element.
    pub fn write(&self, index: i64, value: Tensor) -> Result<()> {
        let mut state = self.open()?;
        let size = state.elements.len();
        let Some(index) = usize::try_from(index).ok().filter(|&i| i < size || state.dynamic_size && i < MAX_SIZE) else {
            bail!(
                InvalidArgument,
                "TensorArray {}: Tried to write to index {index} but array is not resizeable and size is: {size}",
                self.name
            );
        };
        if index >= size {
            if state.elements.try_reserve(index + 1 - size).is_err() {
                bail!(ResourceExhausted, "TensorArray {}: no memory for {} elements", self.name, index + 1);
            }
            state.elements.resize(index + 1, Element::default());
        }
        let refused = |why: String| {
            crate::error::Error::invalid_argument(format!(
                "TensorArray {}: Could not write to TensorArray index {index} because {why}",
                self.name
            ))
        };
        if value.dtype() != self.dtype {
            return Err(refused(format!("the value dtype is {} but TensorArray dtype is {}.", value.dtype(), self.dtype)));
        }
        if !state.element_shape.accepts(value.dims()) {
            return Err(refused(format!(
                "the value shape is {:?} which is incompatible with the TensorArray's inferred element shape: {} (consider \
                 setting infer_shape=False).",
                value.dims(),
                state.element_shape
            )));
        }
        if self.identical_element_shapes && !state.element_shape.is_fully_known() {
            state.element_shape = value.shape();
        }
        let state = &mut *state;
        let element = &mut state.elements[index];
        if element.read {
            return Err(refused("it has already been read.".to_string()));
        }
        if !element.written {
            element.dims = value.dims().into();
            element.value = Some(value);
            element.written = true;
            return Ok(());
        }
        if !self.is_grad {
            return Err(refused("it has already been written to.".to_string()));
        }
        if element.dims.as_slice() != value.dims() {
            bail!(
                InvalidArgument,
                "TensorArray {}: Could not aggregate to TensorArray index {index} because the existing shape is {:?} but the \
                 new input shape is {:?}.",
                self.name,
                element.dims,
                value.dims()
            );
        }
        match &mut element.value {
            Some(sum) if !sum.is_empty() => {
                add(sum, &value)?;
                state.aggregated = true;
            }
            empty => *empty = Some(value),
        }
        Ok(())
    }

    /// Reads one element.
    pub fn read(&self, index: i64) -> Result<Tensor> {
        let mut state = self.open()?;
        let state = &mut *state;
        let size = state.elements.len();
        let Some(index) = usize::try_from(index).ok().filter(|&i| i < size || self.is_grad && i < MAX_SIZE) else {
            bail!(InvalidArgument, "TensorArray {}: Tried to read from index {index} but array size is: {size}", self.name);
        };
        if index >= size || !state.elements[index].written {
            self.read_unwritten(state, index)?;
        }
        let element = &mut state.elements[index];
        if element.cleared {
            bail!(
                InvalidArgument,
                "TensorArray {}: Could not read index {index} twice because it was cleared after a previous read (perhaps try \
                 setting clear_after_read = false?).",
                self.name
            );
        }
        let value = match &element.value {
            Some(value) => value.clone(),
            None => Tensor::zeros(self.dtype, &element.dims)?,
        };
        element.read = true;
        element.cleared = self.clear_after_read;
        element.value = if self.clear_after_read { None } else { Some(value.clone()) };
        Ok(value)
    }

    /// An element that was not written is zero where its shape is known, as for a gradient that was stopped.
    fn read_unwritten(&self, state: &mut State, index: usize) -> Result<()> {
        let size = state.elements.len();
        let dims = match state.elements.get(index) {
            Some(element) if self.is_grad && !element.dims.is_empty() => element.dims.clone(),
            _ => match state.element_shape.to_dims() {
                Some(dims) => dims,
                None => bail!(
                    InvalidArgument,
                    "TensorArray {}: Could not read from TensorArray index {index}.  Furthermore, the element shape is not \
                     fully defined: {}.  It is possible you are working with a resizeable TensorArray and stop_gradients is \
                     not allowing the gradients to be written.  If you set the full element_shape property on the forward \
                     TensorArray, the proper all-zeros tensor will be returned instead of incurring this error.",
                    self.name,
                    state.element_shape
                ),
            },
        };
        let zero = Element { dims, written: true, ..Element::default() };
        if index >= size {
            if state.elements.try_reserve(index + 1 - size).is_err() {
                bail!(ResourceExhausted, "TensorArray {}: no memory for {} elements", self.name, index + 1);
            }
            state.elements.resize(index + 1, zero);
        } else {
            state.elements[index] = zero;
        }
        Ok(())
    }

    /// The array of the gradients of this one's elements for one gradient computation, made at first use. From then on
    /// this one can't grow.
    pub fn gradient(&self, source: &str, shape_to_prepend: &[usize]) -> Result<Arc<Array>> {
        if self.is_grad {
            bail!(InvalidArgument, "Wrong input container. TensorArray {} holds gradients already", self.name);
        }
        let mut state = self.open()?;
        state.dynamic_size = false;
        if state.aggregated {
            bail!(InvalidArgument, "Unable to create a gradients TensorArray for {}.", self.name);
        }
        if let Some(known) = state.gradients.get(source) {
            return Ok(known.clone());
        }
        let front = Shape::known(shape_to_prepend);
        let options = ArrayOptions {
            dtype: self.dtype,
            element_shape: front.concatenate(&state.element_shape),
            identical_element_shapes: self.identical_element_shapes,
            dynamic_size: false,
            clear_after_read: true,
        };
        let mut array = Array::new(format!("{}@{source}", self.name), state.elements.len(), options)?;
        array.is_grad = true;
        {
            let own = array.state.get_mut().unwrap_or_else(|e| e.into_inner());
            own.marked_size = state.marked_size;
            for (own, forward) in own.elements.iter_mut().zip(&state.elements) {
                if forward.written {
                    own.dims = shape_to_prepend.iter().chain(&forward.dims).copied().collect();
                    own.written = true;
                }
            }
        }
        let array = Arc::new(array);
        state.gradients.insert(source.to_string(), array.clone());
        Ok(array)
    }
}

/// `sum += value`, element by element.
fn add(sum: &mut Tensor, value: &Tensor) -> Result<()> {
    macro_rules! wrapping {
        ($($variant:ident $type:ty),*) => {
            match sum.dtype() {
                $(DType::$variant => {
                    let from = value.as_slice::<$type>()?;
                    sum.as_mut_slice::<$type>()?.iter_mut().zip(from).for_each(|(s, v)| *s = s.wrapping_add(*v));
                    return Ok(());
                })*
                _ => {}
            }
        };
    }
    wrapping!(Int8 i8, Int16 i16, Int32 i32, Int64 i64, Uint8 u8, Uint16 u16, Uint32 u32, Uint64 u64);
    if !sum.dtype().is_floating() && !sum.dtype().is_complex() {
        bail!(InvalidArgument, "elements of dtype {} can't be added up in a TensorArray", sum.dtype());
    }
    dispatch!(sum.dtype(), inexact, E => {
        let from = value.as_slice::<E>()?;
        sum.as_mut_slice::<E>()?.iter_mut().zip(from).for_each(|(s, v)| *s = *s + *v);
    });
    Ok(())
}
