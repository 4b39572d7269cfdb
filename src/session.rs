//! Sessions: feeds, fetches, cached plans, variables.

use crate::compute::pool::{self, Pool};
use crate::error::{Result, bail};
use crate::exec::{self, FunctionLibrary, Plan, Request, Rewrites, RunMetadata, RunOptions, StepOptions, Tracer};
use crate::graph::op::SessionState;
use crate::graph::{Graph, Operation, Output};
use crate::tensor::{Tensor, release_kept};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a plan is made for: feeds, fetches, targets.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    feeds: Vec<Output>,
    fetches: Vec<Output>,
    targets: Vec<Operation>,
}

#[derive(Default)]
struct Cache {
    /// The graph's version for which the cache holds.
    version: u64,
    plans: HashMap<Key, Arc<Plan>>,
    library: Option<Arc<FunctionLibrary>>,
}

/// How a session runs its graph.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SessionOptions {
    /// The rewrites that are made of each plan.
    pub rewrites: Rewrites,
    /// On how many threads a kernel may run, in a pool of the session's own. With 0 the session shares the pool of the
    /// process, which has `METAGRAPH_NUM_THREADS` threads, or one for each core.
    pub threads: usize,
}

/// Runs a graph, and holds the values of its variables. Several threads may run one session at once.
pub struct Session {
    graph: Graph,
    state: Arc<SessionState>,
    cache: Mutex<Cache>,
    options: SessionOptions,
    pool: Option<Pool>,
}

impl Drop for Session {
    fn drop(&mut self) {
        release_kept();
    }
}

impl Session {
    /// A session over a graph. Nodes that are added later can be run as well.
    pub fn new(graph: &Graph) -> Session {
        Session::with_options(graph, SessionOptions::default())
    }

    /// A session that runs its graph as the options say.
    pub fn with_options(graph: &Graph, options: SessionOptions) -> Session {
        tracing::debug!(nodes = graph.len(), "session created");
        let pool = (options.threads > 0).then(|| Pool::new(options.threads));
        Session { graph: graph.plain(), state: Arc::default(), cache: Mutex::default(), options, pool }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The state that lives in the session: variables, tables, queues.
    pub fn state(&self) -> &Arc<SessionState> {
        &self.state
    }

    /// Runs what the fetches need and returns their values, in order. Any tensor can be fed.
    ///
    /// # Errors
    /// `InvalidArgument` for a feed of another dtype or shape, a placeholder that isn't fed, a fetched tensor that is
    /// dead; `FailedPrecondition` for a variable without a value; `NotFound` for ops that can't be run; what kernels
    /// return. The error names the node.
    pub fn run(&self, fetches: &[Output], feeds: &[(Output, &Tensor)]) -> Result<Vec<Tensor>> {
        self.run_with_targets(fetches, &[], feeds)
    }

    /// Runs operations for their effects.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_targets(&self, targets: &[Operation], feeds: &[(Output, &Tensor)]) -> Result<()> {
        self.run_with_targets(&[], targets, feeds).map(drop)
    }

    /// Runs fetches and targets in one step.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_with_targets(
        &self,
        fetches: &[Output],
        targets: &[Operation],
        feeds: &[(Output, &Tensor)],
    ) -> Result<Vec<Tensor>> {
        self.step(fetches, targets, feeds, None)
    }

    /// The same, and what the run is asked to tell about itself: with `options.trace`, each node's count and time, and with
    /// `options.outputs` what each of its runs gave.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_with_options(
        &self,
        fetches: &[Output],
        targets: &[Operation],
        feeds: &[(Output, &Tensor)],
        options: &RunOptions,
    ) -> Result<(Vec<Tensor>, RunMetadata)> {
        if !options.trace {
            let values = self.step(fetches, targets, feeds, None)?;
            return Ok((values, RunMetadata::default()));
        }
        let key = Key { feeds: feeds.iter().map(|f| f.0).collect(), fetches: fetches.to_vec(), targets: targets.to_vec() };
        self.plan(&key)?;
        let tracer = Tracer::new(options);
        let values = self.step(fetches, targets, feeds, Some(&tracer))?;
        Ok((values, tracer.finish()))
    }

    fn step(
        &self,
        fetches: &[Output],
        targets: &[Operation],
        feeds: &[(Output, &Tensor)],
        tracer: Option<&Tracer>,
    ) -> Result<Vec<Tensor>> {
        let key = Key { feeds: feeds.iter().map(|f| f.0).collect(), fetches: fetches.to_vec(), targets: targets.to_vec() };
        let (plan, library) = self.plan(&key)?;
        let mut values = Vec::with_capacity(feeds.len());
        for &(output, value) in feeds {
            self.check_feed(output, value)?;
            values.push(value.clone());
        }
        let _entered = self.pool.as_ref().map(pool::enter);
        plan.run(values, &StepOptions { session: &self.state, caller: &*library, cancelled: None, tracer })
    }

    /// Runs fetches and targets given by name: tensors as `op:0`, operations as `op`. A fetch that names an operation
    /// is run for its effect and gives no value.
    ///
    /// # Errors
    /// As [`Session::run`]; `NotFound` for names that aren't in the graph.
    pub fn run_named(&self, fetches: &[&str], feeds: &[(&str, &Tensor)]) -> Result<Vec<Tensor>> {
        let (mut outputs, mut targets) = (Vec::new(), Vec::new());
        for name in fetches {
            match name.contains(':') {
                true => outputs.push(self.graph.get_tensor_by_name(name)?),
                false => targets.push(self.graph.get_operation_by_name(name)?),
            }
        }
        let feeds: Vec<(Output, &Tensor)> =
            feeds.iter().map(|(name, value)| Ok((self.graph.get_tensor_by_name(name)?, *value))).collect::<Result<_>>()?;
        self.run_with_targets(&outputs, &targets, &feeds)
    }

    /// Resolves feeds, fetches and targets once, for hot loops.
    ///
    /// # Errors
    /// As [`Session::run`], where the plan can't be made.
    pub fn callable(&self, feeds: &[Output], fetches: &[Output], targets: &[Operation]) -> Result<Callable<'_>> {
        let key = Key { feeds: feeds.to_vec(), fetches: fetches.to_vec(), targets: targets.to_vec() };
        let (plan, library) = self.plan(&key)?;
        Ok(Callable { session: self, feeds: key.feeds, plan, library })
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn plan(&self, key: &Key) -> Result<(Arc<Plan>, Arc<FunctionLibrary>)> {
        let version = self.graph.read().version;
        let mut cache = self.cache();
        if cache.version != version {
            *cache = Cache { version, ..Cache::default() };
        }
        let library = match &cache.library {
            Some(library) => library.clone(),
            None => cache.library.insert(Arc::new(FunctionLibrary::new(&self.graph, &self.state, self.options.rewrites))).clone(),
        };
        if let Some(plan) = cache.plans.get(key) {
            return Ok((plan.clone(), library));
        }
        drop(cache);
        self.check_allowed(key)?;
        let rewrites = &self.options.rewrites;
        let request = Request { feeds: &key.feeds, fetches: &key.fetches, targets: &key.targets, rewrites };
        let start = std::time::Instant::now();
        let plan = Arc::new(exec::plan(&self.graph, &request, &self.state)?);
        tracing::debug!(
            feeds = key.feeds.len(),
            fetches = key.fetches.len(),
            targets = key.targets.len(),
            elapsed = ?start.elapsed(),
            "plan made"
        );
        let mut cache = self.cache();
        if cache.version == version {
            cache.plans.insert(key.clone(), plan.clone());
        }
        Ok((plan, library))
    }

    /// Refuses what the builders of loops and conditionals marked as not to be fetched or fed.
    fn check_allowed(&self, key: &Key) -> Result<()> {
        let inner = self.graph.read();
        for op in key.fetches.iter().map(|f| f.op).chain(key.targets.iter().copied()) {
            let node = inner.node(op)?;
            if node.unfetchable {
                bail!(InvalidArgument, "Operation '{}' has been marked as not fetchable.", node.name);
            }
        }
        for feed in &key.feeds {
            let node = inner.node(feed.op)?;
            if node.unfeedable {
                bail!(InvalidArgument, "Tensor {}:{} may not be fed.", node.name, feed.index);
            }
        }
        Ok(())
    }

    fn check_feed(&self, output: Output, value: &Tensor) -> Result<()> {
        let name = || self.graph.tensor_name(output);
        if let Ok(dtype) = self.graph.dtype(output)
            && dtype != value.dtype()
        {
            bail!(
                InvalidArgument,
                "Cannot feed value of dtype {} for Tensor '{}', which has dtype {dtype}",
                value.dtype(),
                name()
            );
        }
        if let Ok(shape) = self.graph.shape(output)
            && !shape.accepts(value.dims())
        {
            bail!(
                InvalidArgument,
                "Cannot feed value of shape {:?} for Tensor '{}', which has shape {shape}",
                value.dims(),
                name()
            );
        }
        Ok(())
    }
}

/// A run whose feeds, fetches and targets are resolved.
pub struct Callable<'a> {
    session: &'a Session,
    feeds: Vec<Output>,
    plan: Arc<Plan>,
    library: Arc<FunctionLibrary>,
}

impl Callable<'_> {
    /// Runs with these values for the feeds, in order.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run(&self, values: &[&Tensor]) -> Result<Vec<Tensor>> {
        if values.len() != self.feeds.len() {
            bail!(InvalidArgument, "expected {} feeds, got {}", self.feeds.len(), values.len());
        }
        for (&feed, value) in self.feeds.iter().zip(values) {
            self.session.check_feed(feed, value)?;
        }
        let values = values.iter().map(|&v| v.clone()).collect();
        let _entered = self.session.pool.as_ref().map(pool::enter);
        let options = StepOptions { session: &self.session.state, caller: &*self.library, cancelled: None, tracer: None };
        self.plan.run(values, &options)
    }
}
