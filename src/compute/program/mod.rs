//! Small programs of element-wise operations, run chunk by chunk, so that values in between stay in the first cache.
//!
//! A program is a list of [`Line`]s over streams of elements: each operand starts somewhere in one of the program's
//! memories and moves by fixed steps from row to row and from column to column. Memory 0 is the registers: chunks of
//! [`CHUNK`] elements that each thread has for itself.

mod bodies;

pub use bodies::{Body, Number, Operation, body};

use super::pool::parallel_for;
use super::scratch;

/// Elements that a line computes at once at most.
pub const CHUNK: usize = 256;

/// Elements times lines that one piece of a parallel loop has at least: two microseconds of work.
const GRAIN: usize = 1 << 13;

/// Where an operand is: element (row, column) at `offset + row * row_step + column * column_step` bytes of a memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    /// The memory; 0 is the registers.
    pub memory: usize,
    /// In bytes.
    pub offset: usize,
    /// In bytes; 0 in the registers, and for rows that are all the same.
    pub row_step: usize,
    /// In bytes; 0 in the registers, else the size of an element.
    pub column_step: usize,
}

impl Stream {
    /// The register at this offset.
    pub fn register(offset: usize) -> Stream {
        Stream { offset, ..Stream::default() }
    }
}

/// One operation on a chunk.
#[derive(Clone, Copy)]
pub struct Line {
    /// What computes it.
    pub body: Body,
    /// The operands; operations of fewer operands ignore the last.
    pub args: [Stream; 3],
    /// Where the result goes.
    pub out: Stream,
}

/// A value that stands for a whole chunk: written into a register before the lines run.
#[derive(Clone, Copy, Debug)]
pub struct Splat {
    /// The register's offset in bytes.
    pub offset: usize,
    /// The number of the single value.
    pub single: usize,
    /// The size of an element in bytes: 1, 4 or 8.
    pub size: usize,
}

/// A column of which each element stands for its row: written into a register before the lines run on that row.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The register's offset in bytes.
    pub offset: usize,
    /// Where the column is.
    pub from: Stream,
    /// The size of an element in bytes: 1, 4 or 8.
    pub size: usize,
}

/// A row that repeats, written into a register as often as it fits before the lines run.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// The register's offset in bytes.
    pub offset: usize,
    /// Where the row is.
    pub from: Stream,
    /// Its size in bytes.
    pub bytes: usize,
}

/// A program for elements in `rows` rows of `columns` columns.
pub struct Program {
    /// The operations in order.
    pub lines: Vec<Line>,
    /// The values that stand for chunks.
    pub splats: Vec<Splat>,
    /// The columns whose elements stand for rows.
    pub column_values: Vec<Column>,
    /// The rows that stand for chunks, all of one size.
    pub patterns: Vec<Pattern>,
    /// Elements of a chunk: [`CHUNK`], or whole patterns.
    pub chunk: usize,
    /// The size of the registers in 8 bytes.
    pub registers: usize,
    /// The number of rows.
    pub rows: usize,
    /// The number of columns.
    pub columns: usize,
}

impl Program {
    /// Makes one row of many short ones, if operands are without gaps or rows that repeat; these become patterns.
    pub fn join_rows(&mut self) {
        let columns = self.columns;
        let is_plain = |s: &Stream| s.memory == 0 || s.row_step == columns * s.column_step;
        let repeats = |s: &Stream| s.memory != 0 && s.row_step == 0;
        let args = || self.lines.iter().flat_map(|l| &l.args);
        let fits = self.column_values.is_empty()
            && args().all(|s| is_plain(s) || repeats(s))
            && self.lines.iter().all(|l| is_plain(&l.out));
        if self.rows < 2 || 2 * columns > CHUNK || columns == 0 || !fits {
            return;
        }
        let mut patterns: Vec<Pattern> = Vec::new();
        for arg in self.lines.iter_mut().flat_map(|l| &mut l.args).filter(|s| repeats(s)) {
            let same = |p: &&Pattern| (p.from.memory, p.from.offset) == (arg.memory, arg.offset);
            let offset = match patterns.iter().find(same) {
                Some(pattern) => pattern.offset,
                None => {
                    self.registers += CHUNK;
                    let offset = (self.registers - CHUNK) * 8;
                    patterns.push(Pattern { offset, from: *arg, bytes: columns * arg.column_step });
                    offset
                }
            };
            *arg = Stream::register(offset);
        }
        self.patterns = patterns;
        self.chunk = CHUNK / columns * columns;
        self.columns *= self.rows;
        self.rows = 1;
    }

    /// Runs over memories 1, 2, ... and single values of up to 8 bytes, split over the current pool.
    ///
    /// # Safety
    /// Every stream and column lies in its memory, results in memory that nothing else uses, and no line writes where another one
    /// reads at another row or column.
    pub unsafe fn run(&self, memories: &[*mut u8], singles: &[u64]) {
        let parts = self.columns.div_ceil(self.chunk);
        let work = self.chunk.min(self.columns) * self.lines.len();
        let memories = Memories(memories);
        parallel_for(self.rows * parts, GRAIN.div_ceil(work.max(1)), |chunks| {
            let mut registers = scratch::take::<f64>(self.registers);
            let base: *mut u8 = registers.as_mut_ptr().cast();
            for splat in &self.splats {
                // SAFETY: a splat's register has room for a chunk.
                unsafe { fill(base.add(splat.offset), singles[splat.single], splat.size, CHUNK.min(self.columns)) };
            }
            for pattern in &self.patterns {
                // SAFETY: the row lies in its memory, and the register has room for as many rows as a chunk has.
                unsafe {
                    let row = memories.get(pattern.from.memory - 1).add(pattern.from.offset);
                    let count = self.chunk * pattern.from.column_step / pattern.bytes;
                    for i in 0..count {
                        std::ptr::copy_nonoverlapping(row, base.add(pattern.offset + i * pattern.bytes), pattern.bytes);
                    }
                }
            }
            let mut last_row = None;
            for chunk in chunks {
                let (row, column) = (chunk / parts, chunk % parts * self.chunk);
                if last_row.replace(row) != Some(row) {
                    for Column { offset, from, size } in &self.column_values {
                        // SAFETY: the element lies in its memory, as the caller promises; a register has room for a chunk.
                        unsafe {
                            let element = memories.get(from.memory - 1).add(from.offset + row * from.row_step);
                            let mut word = [0; 8];
                            std::ptr::copy_nonoverlapping(element, word.as_mut_ptr(), *size);
                            fill(base.add(*offset), u64::from_ne_bytes(word), *size, self.chunk.min(self.columns));
                        }
                    }
                }
                let count = self.chunk.min(self.columns - column);
                let at = |stream: &Stream| {
                    let memory = if stream.memory == 0 { base } else { memories.get(stream.memory - 1) };
                    // SAFETY: the stream lies in its memory, as the caller promises.
                    unsafe { memory.add(stream.offset + row * stream.row_step + column * stream.column_step) }
                };
                for line in &self.lines {
                    let args = [at(&line.args[0]).cast_const(), at(&line.args[1]).cast_const(), at(&line.args[2]).cast_const()];
                    // SAFETY: as above, for `count` elements of the row.
                    unsafe { (line.body)(args, at(&line.out), count) };
                }
            }
        });
    }
}

/// The memories of a program, which its threads share.
struct Memories<'a>(&'a [*mut u8]);

// SAFETY: the pointers are only addresses; each piece of the loop keeps to its own chunks.
unsafe impl Sync for Memories<'_> {}

impl Memories<'_> {
    #[inline]
    fn get(&self, index: usize) -> *mut u8 {
        self.0[index]
    }
}

/// Writes a value of `size` bytes `count` times.
///
/// # Safety
/// There is room.
unsafe fn fill(to: *mut u8, value: u64, size: usize, count: usize) {
    let bytes = value.to_ne_bytes();
    // SAFETY: as the caller promises; registers are aligned to 8 bytes.
    unsafe {
        match size {
            1 => std::slice::from_raw_parts_mut(to, count).fill(bytes[0]),
            4 => {
                let value = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                std::slice::from_raw_parts_mut(to.cast::<u32>(), count).fill(value);
            }
            _ => std::slice::from_raw_parts_mut(to.cast::<u64>(), count).fill(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::level::tests::at_every_level;

    #[test]
    fn lines_run_over_rows_and_chunks() {
        at_every_level(|| {
            for (rows, columns) in [(1, 1), (3, 7), (100, 1), (1000, 32), (67, 100), (2, 300), (200, 500)] {
                let x: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
                let bias: Vec<f32> = (0..columns).map(|i| i as f32 * 0.5).collect();
                let mut y = vec![0f32; rows * columns];
                let full = |memory| Stream { memory, offset: 0, row_step: columns * 4, column_step: 4 };
                let line = |operation, args, out| Line { body: body(operation, Number::F32).unwrap(), args, out };
                let unused = Stream::default();
                let mut program = Program {
                    lines: vec![
                        line(
                            Operation::Add,
                            [full(1), Stream { memory: 2, row_step: 0, ..full(2) }, unused],
                            Stream::register(1024),
                        ),
                        line(Operation::Mul, [Stream::register(1024), Stream::register(0), unused], full(3)),
                    ],
                    splats: vec![Splat { offset: 0, single: 1, size: 4 }],
                    column_values: Vec::new(),
                    patterns: Vec::new(),
                    chunk: CHUNK,
                    registers: 2 * CHUNK,
                    rows,
                    columns,
                };
                let singles = [0, u64::from(2f32.to_bits())];
                let memories = [x.as_ptr().cast_mut().cast(), bias.as_ptr().cast_mut().cast(), y.as_mut_ptr().cast()];
                for joined in [false, true] {
                    y.fill(0.0);
                    // SAFETY: the streams lie in the memories.
                    unsafe { program.run(&memories, &singles) };
                    for (i, y) in y.iter().enumerate() {
                        assert_eq!(*y, 2.0 * (x[i] + bias[i % columns]), "{rows} {columns} {i}, joined {joined}");
                    }
                    program.join_rows();
                }
            }
        });
    }

    #[test]
    fn columns_stand_for_rows() {
        at_every_level(|| {
            for (rows, columns) in [(1, 1), (3, 7), (16, 300), (100, 40)] {
                let [a, b] = [1, 2].map(|k| (0..rows * columns).map(|i| (k * i) as f32).collect::<Vec<f32>>());
                let takes_a: Vec<bool> = (0..rows).map(|i| i % 3 == 1).collect();
                let scale: Vec<f32> = (0..rows).map(|i| i as f32).collect();
                let mut y = vec![0f32; rows * columns];
                let full = |memory| Stream { memory, offset: 0, row_step: columns * 4, column_step: 4 };
                let column = |offset, memory, size| {
                    let from = Stream { memory, offset: 0, row_step: size, column_step: 0 };
                    Column { offset, from, size }
                };
                let line = |operation, args, out| Line { body: body(operation, Number::F32).unwrap(), args, out };
                let mut program = Program {
                    lines: vec![
                        line(Operation::Select, [Stream::register(0), full(1), full(2)], Stream::register(4096)),
                        line(Operation::Mul, [Stream::register(4096), Stream::register(2048), Stream::default()], full(5)),
                    ],
                    splats: Vec::new(),
                    column_values: vec![column(0, 3, 1), column(2048, 4, 4)],
                    patterns: Vec::new(),
                    chunk: CHUNK,
                    registers: 3 * CHUNK,
                    rows,
                    columns,
                };
                program.join_rows();
                let memories = [
                    a.as_ptr().cast_mut().cast(),
                    b.as_ptr().cast_mut().cast(),
                    takes_a.as_ptr().cast_mut().cast(),
                    scale.as_ptr().cast_mut().cast(),
                    y.as_mut_ptr().cast(),
                ];
                // SAFETY: the streams lie in the memories.
                unsafe { program.run(&memories, &[]) };
                for (i, y) in y.iter().enumerate() {
                    let row = i / columns;
                    assert_eq!(*y, scale[row] * if takes_a[row] { a[i] } else { b[i] }, "{rows} {columns} {i}");
                }
            }
        });
    }
}
