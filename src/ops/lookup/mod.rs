//! Lookup tables.

mod key;
mod table;
mod text_file;
mod unordered;

use crate::error::{Result, bail};
use crate::graph::op::{Grad, HandleData, InferCtx, Kernel, KernelCtx, Op, Variable};
use crate::graph::{Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Dims, ResourceHandle, Shape, Tensor};
use std::sync::Arc;
use table::{DenseOptions, Table};

const HANDLE: &[&str] = &["table_handle: resource"];
const REF: &[&str] = &["table_handle: Ref(string)"];
const SHARED: &[&str] = &[
    "container: string = ''",
    "shared_name: string = ''",
    "use_node_name_sharing: bool = false",
    "key_dtype: type",
    "value_dtype: type",
];
const SHARED_OF_TENSORS: &[&str] = &[
    "container: string = ''",
    "shared_name: string = ''",
    "use_node_name_sharing: bool = false",
    "key_dtype: type",
    "value_dtype: type",
    "value_shape: shape = shape[]",
];
const SHARED_DENSE: &[&str] = &[
    "container: string = ''",
    "shared_name: string = ''",
    "use_node_name_sharing: bool = false",
    "key_dtype: type",
    "value_dtype: type",
    "value_shape: shape = shape[]",
    "initial_num_buckets: int = 131072",
    "max_load_factor: float = 0.8",
];
const ANONYMOUS: &[&str] = &["key_dtype: type", "value_dtype: type"];
const ANONYMOUS_OF_TENSORS: &[&str] = &["key_dtype: type", "value_dtype: type", "value_shape: shape = shape[]"];
const ANONYMOUS_DENSE: &[&str] = &[
    "key_dtype: type",
    "value_dtype: type",
    "value_shape: shape = shape[]",
    "initial_num_buckets: int = 131072",
    "max_load_factor: float = 0.8",
];

/// The record of an op that makes a table.
macro_rules! maker {
    ($name:literal, $ins:expr, $outs:expr, $attrs:expr, $make:expr) => {
        Op {
            name: $name,
            ins: $ins,
            outs: $outs,
            attrs: $attrs,
            shape: table_shape,
            kernel: Kernel::Stateful($make),
            grad: Grad::None("a table"),
            rows: &[],
        }
    };
}

/// The records of an op on tables in its two forms: with a handle, and with a reference to a name.
macro_rules! pair {
    ($old:literal, $new:literal, $outs:expr, $attrs:expr, [$($input:literal),*], $shape:expr, $kernel:expr) => {
        [
            Op {
                name: $old,
                ins: &["table_handle: Ref(string)", $($input),*],
                outs: $outs,
                attrs: $attrs,
                shape: $shape,
                kernel: Kernel::Stateful($kernel),
                grad: Grad::None("an op on a table"),
                rows: &[],
            },
            Op {
                name: $new,
                ins: &["table_handle: resource", $($input),*],
                outs: $outs,
                attrs: $attrs,
                shape: $shape,
                kernel: Kernel::Stateful($kernel),
                grad: Grad::None("an op on a table"),
                rows: &[],
            },
        ]
    };
}

const KEYS: &[&str] = &["empty_key: key_dtype", "deleted_key: key_dtype"];

/// The family's lists of records.
pub(super) static FAMILIES: &[&[Op]] = &[MAKERS, FINDS, INSERTS, IMPORTS, EXPORTS, SIZES, INITIALIZERS, FILES, REMOVES];

static MAKERS: &[Op] = &[
    maker!("HashTable", &[], REF, SHARED, |ctx| named(ctx, fixed)),
    maker!("HashTableV2", &[], HANDLE, SHARED, |ctx| named(ctx, fixed)),
    maker!("AnonymousHashTable", &[], HANDLE, ANONYMOUS, |ctx| anonymous(ctx, fixed)),
    maker!("MutableHashTable", &[], REF, SHARED, |ctx| named(ctx, mutable)),
    maker!("MutableHashTableV2", &[], HANDLE, SHARED, |ctx| named(ctx, mutable)),
    maker!("AnonymousMutableHashTable", &[], HANDLE, ANONYMOUS, |ctx| anonymous(ctx, mutable)),
    maker!("MutableHashTableOfTensors", &[], REF, SHARED_OF_TENSORS, |ctx| named(ctx, of_tensors)),
    maker!("MutableHashTableOfTensorsV2", &[], HANDLE, SHARED_OF_TENSORS, |ctx| named(ctx, of_tensors)),
    maker!("AnonymousMutableHashTableOfTensors", &[], HANDLE, ANONYMOUS_OF_TENSORS, |ctx| anonymous(ctx, of_tensors)),
    maker!("MutableDenseHashTable", &["empty_key: key_dtype"], REF, SHARED_DENSE, |ctx| named(ctx, dense)),
    maker!("MutableDenseHashTableV2", KEYS, HANDLE, SHARED_DENSE, |ctx| named(ctx, dense)),
    maker!("AnonymousMutableDenseHashTable", KEYS, HANDLE, ANONYMOUS_DENSE, |ctx| anonymous(ctx, dense)),
];

static FINDS: &[Op] = &pair!(
    "LookupTableFind",
    "LookupTableFindV2",
    &["values: Tout"],
    &["Tin: type", "Tout: type"],
    ["keys: Tin", "default_value: Tout"],
    find_shape,
    find
);
static INSERTS: &[Op] = &pair!(
    "LookupTableInsert",
    "LookupTableInsertV2",
    &[],
    &["Tin: type", "Tout: type"],
    ["keys: Tin", "values: Tout"],
    handle_shape,
    |ctx| table(ctx)?.insert(ctx.input(1)?, ctx.input(2)?)
);
static IMPORTS: &[Op] = &pair!(
    "LookupTableImport",
    "LookupTableImportV2",
    &[],
    &["Tin: type", "Tout: type"],
    ["keys: Tin", "values: Tout"],
    handle_shape,
    |ctx| table(ctx)?.import(ctx.input(1)?, ctx.input(2)?)
);
static EXPORTS: &[Op] = &pair!(
    "LookupTableExport",
    "LookupTableExportV2",
    &["keys: Tkeys", "values: Tvalues"],
    &["Tkeys: type", "Tvalues: type"],
    [],
    handle_shape,
    export
);
static SIZES: &[Op] = &pair!("LookupTableSize", "LookupTableSizeV2", &["size: int64"], &[], [], size_shape, |ctx| {
    let size = table(ctx)?.len() as i64;
    ctx.set(0, Tensor::scalar(size))
});
static INITIALIZERS: &[Op] = &pair!(
    "InitializeTable",
    "InitializeTableV2",
    &[],
    &["Tkey: type", "Tval: type"],
    ["keys: Tkey", "values: Tval"],
    initialize_shape,
    |ctx| table(ctx)?.initialize(ctx.input(1)?, ctx.input(2)?)
);
static FILES: &[Op] = &pair!(
    "InitializeTableFromTextFile",
    "InitializeTableFromTextFileV2",
    &[],
    &[
        "key_index: int >= -2",
        "value_index: int >= -2",
        "vocab_size: int >= -1 = -1",
        "delimiter: string = '\t'",
        "offset: int = 0"
    ],
    ["filename: string"],
    |ctx| {
        ctx.input(1).with_rank(0)?;
        handle_shape(ctx)
    },
    text_file::initialize
);
static REMOVES: &[Op] = &[Op {
    name: "LookupTableRemoveV2",
    ins: &["table_handle: resource", "keys: Tin"],
    outs: &[],
    attrs: &["Tin: type"],
    shape: |ctx| {
        ctx.input(1).with_rank_at_least(1)?;
        handle_shape(ctx)
    },
    kernel: Kernel::Stateful(|ctx| table(ctx)?.remove(ctx.input(1)?)),
    grad: Grad::None("an op on a table"),
    rows: &[],
}];

fn is_handle(ctx: &InferCtx) -> bool {
    ctx.input_type(0).is_ok_and(|t| t == DType::Resource)
}

/// The handle is a scalar, the old reference a pair of strings.
fn handle_shape(ctx: &mut InferCtx) -> Result<()> {
    if is_handle(ctx) {
        ctx.input(0).with_rank(0)?;
        return Ok(());
    }
    match ctx.input(0).with_rank(1)?.dim(0) {
        Some(size) if size != 2 => bail!(InvalidArgument, "Dimension must be 2 but is {size}"),
        _ => Ok(()),
    }
}

fn size_shape(ctx: &mut InferCtx) -> Result<()> {
    handle_shape(ctx)?;
    ctx.set(0, Shape::scalar())
}

fn initialize_shape(ctx: &mut InferCtx) -> Result<()> {
    handle_shape(ctx)?;
    let keys = ctx.input(1).with_rank(1)?;
    keys.merge(&ctx.input(2))?;
    Ok(())
}

fn table_shape(ctx: &mut InferCtx) -> Result<()> {
    if ctx.output_type(0)? != DType::Resource {
        return ctx.set(0, Shape::vector(Some(2)));
    }
    let shape = if ctx.has_attr("value_shape") { ctx.shape_attr("value_shape")? } else { Shape::scalar() };
    // What is known of a table's values holds for scalar keys, the only ones that tables without an empty key have.
    if ctx.num_inputs() == 0 || ctx.input(0).rank() == Some(0) {
        let data = HandleData { dtype: ctx.dtype("value_dtype")?, shape };
        ctx.set_handle(0, data);
    }
    ctx.set(0, Shape::scalar())
}

fn find_shape(ctx: &mut InferCtx) -> Result<()> {
    handle_shape(ctx)?;
    match ctx.handle(0) {
        Some(data) => {
            if data.dtype != ctx.dtype("Tout")? {
                bail!(
                    InvalidArgument,
                    "Trying to read value with wrong dtype. Expected {} got {}",
                    data.dtype,
                    ctx.dtype("Tout")?
                );
            }
            ctx.set(0, ctx.input(1).concatenate(&data.shape))
        }
        None => ctx.set(0, Shape::unknown()),
    }
}

type Make = fn(&KernelCtx) -> Result<Table>;

fn dtypes(ctx: &KernelCtx) -> Result<(DType, DType)> {
    let (key, value) = (ctx.node().dtype("key_dtype")?, ctx.node().dtype("value_dtype")?);
    if !matches!(key, DType::String) && !key.is_integer() {
        bail!(InvalidArgument, "No OpKernel was registered to support Op '{}' with keys of type {key}", ctx.node().op);
    }
    Ok((key, value))
}

fn value_shape(ctx: &KernelCtx) -> Result<Dims> {
    let shape = ctx.node().shape("value_shape")?;
    match shape.to_dims() {
        Some(dims) => Ok(dims),
        None => bail!(InvalidArgument, "value_shape must be fully known, got {shape}"),
    }
}

fn fixed(ctx: &KernelCtx) -> Result<Table> {
    let (key, value) = dtypes(ctx)?;
    Ok(Table::fixed(key, value))
}

fn mutable(ctx: &KernelCtx) -> Result<Table> {
    let (key, value) = dtypes(ctx)?;
    Ok(Table::mutable(key, value, Dims::new()))
}

fn of_tensors(ctx: &KernelCtx) -> Result<Table> {
    let (key, value) = dtypes(ctx)?;
    let shape = value_shape(ctx)?;
    if shape.len() != 1 {
        bail!(InvalidArgument, "Default value must be a vector, got shape {}", Shape::known(&shape));
    }
    Ok(Table::mutable(key, value, shape))
}

fn dense(ctx: &KernelCtx) -> Result<Table> {
    let (_, value) = dtypes(ctx)?;
    let options = DenseOptions {
        empty: ctx.input(0)?,
        deleted: if ctx.num_inputs() > 1 { Some(ctx.input(1)?) } else { None },
        buckets: ctx.node().int("initial_num_buckets")?,
        load: ctx.node().float("max_load_factor")?,
    };
    Table::dense(value, value_shape(ctx)?, &options)
}

/// The handle of the session's table of the node's shared name, or of the node itself.
fn named(ctx: &mut KernelCtx, make: Make) -> Result<()> {
    let node = ctx.node();
    let container = node.string("container")?;
    let shared = node.string("shared_name")?;
    let name = match shared {
        "" if node.boolean("use_node_name_sharing")? => node.name.to_string(),
        "" => format!("_0_{}", node.name),
        shared => shared.to_string(),
    };
    let table = ctx.session().resource(container, &name, || make(ctx))?;
    let (key, value) = dtypes(ctx)?;
    if table.key_dtype != key || table.value_dtype != value {
        bail!(
            InvalidArgument,
            "Conflicting key/value dtypes {key}->{value} with {}->{} for table {name}",
            table.key_dtype,
            table.value_dtype
        );
    }
    let container = if container.is_empty() { "localhost" } else { container };
    if node.output_types[0] == DType::Resource {
        let handle = ResourceHandle { container: Arc::from(container), name: Arc::from(name), object: Some(table) };
        return ctx.set(0, Tensor::resource(handle));
    }
    let reference = Variable::new(&*node.name, DType::String, Shape::vector(Some(2)));
    let names = [container.to_string(), name].map(bytes::Bytes::from);
    reference.set(Some(Tensor::from_strings(&[2], names.to_vec())?));
    ctx.set_ref(0, Arc::new(reference))
}

fn anonymous(ctx: &mut KernelCtx, make: Make) -> Result<()> {
    let table: Arc<Table> = Arc::new(make(ctx)?);
    let handle = ResourceHandle { container: Arc::from("localhost"), name: ctx.name().clone(), object: Some(table) };
    ctx.set(0, Tensor::resource(handle))
}

/// The table at input 0.
fn table(ctx: &KernelCtx) -> Result<Arc<Table>> {
    if ctx.node().input_types[0] == DType::Resource {
        return ctx.resource::<Table>(0);
    }
    let handle = ctx.variable(0)?.read()?;
    let [container, name] = handle.strings()? else {
        bail!(InvalidArgument, "Lookup table handle must be scalar, but had shape: {}", handle.shape());
    };
    let (container, name) = (String::from_utf8_lossy(container), String::from_utf8_lossy(name));
    match ctx.session().find::<Table>(&container, &name) {
        Some(table) => Ok(table),
        None => bail!(NotFound, "Resource {container}/{name} of type lookup table does not exist."),
    }
}

fn find(ctx: &mut KernelCtx) -> Result<()> {
    let values = table(ctx)?.find(ctx.input(1)?, ctx.input(2)?)?;
    ctx.set(0, values)
}

fn export(ctx: &mut KernelCtx) -> Result<()> {
    let (keys, values) = table(ctx)?.export()?;
    let types = &ctx.node().output_types;
    if keys.dtype() != types[0] || values.dtype() != types[1] {
        bail!(
            InvalidArgument,
            "The table maps {} to {}, {} to {} was asked for",
            keys.dtype(),
            values.dtype(),
            types[0],
            types[1]
        );
    }
    ctx.set(0, keys)?;
    ctx.set(1, values)
}

impl Graph {
    /// A handle to a table that is filled once (`gen_lookup_ops.hash_table_v2`).
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn hash_table(&self, key_dtype: DType, value_dtype: DType, shared_name: &str) -> Result<Output> {
        let op = self.op("HashTableV2").default_name("hash_table").attr("key_dtype", key_dtype).attr("value_dtype", value_dtype);
        op.attr("shared_name", shared_name).output()
    }

    /// A handle to a table that changes (`gen_lookup_ops.mutable_hash_table_v2`).
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn mutable_hash_table(&self, key_dtype: DType, value_dtype: DType, shared_name: &str) -> Result<Output> {
        let op = self.op("MutableHashTableV2").default_name("MutableHashTable").attr("key_dtype", key_dtype);
        op.attr("value_dtype", value_dtype).attr("shared_name", shared_name).output()
    }

    /// The values of keys in a table, a default for those that aren't there.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle.
    pub fn lookup_table_find(&self, table: Output, keys: Output, default: impl Into<Arg>) -> Result<Output> {
        let default = default.into();
        let dtype = self.handle_data(table)?.map(|data| data.dtype);
        let (g, scope) = self.enter("LookupTableFindV2")?;
        let default = g.convert(&default, dtype, "default_value")?;
        g.op("LookupTableFindV2").name(scope.name()).input(table).input(keys).input(default).output()
    }

    /// Adds entries to a table or changes them.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle.
    pub fn lookup_table_insert(&self, table: Output, keys: Output, values: Output) -> Result<Operation> {
        self.op("LookupTableInsertV2").input(table).input(keys).input(values).finish()
    }

    /// Fills a table, as the initializer of a static table does.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle.
    pub fn lookup_table_import(&self, table: Output, keys: Output, values: Output) -> Result<Operation> {
        self.op("LookupTableImportV2").input(table).input(keys).input(values).finish()
    }

    /// The number of entries of a table.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle.
    pub fn lookup_table_size(&self, table: Output) -> Result<Output> {
        self.op("LookupTableSizeV2").input(table).output()
    }

    /// The keys and values of a table.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle.
    pub fn lookup_table_export(&self, table: Output, keys: DType, values: DType) -> Result<(Output, Output)> {
        let outputs = self.op("LookupTableExportV2").input(table).attr("Tkeys", keys).attr("Tvalues", values).outputs()?;
        Ok((outputs[0], outputs[1]))
    }

    /// Removes keys from a table.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle.
    pub fn lookup_table_remove(&self, table: Output, keys: Output) -> Result<Operation> {
        self.op("LookupTableRemoveV2").input(table).input(keys).finish()
    }
}
