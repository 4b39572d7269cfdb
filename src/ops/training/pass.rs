//! One pass over a variable and its slots: every element is read and written once, in place.

use super::field::Stored;
use crate::compute::level::vectorize;
use crate::compute::pool::{SharedMut, parallel_for};

/// The variable's element and those of its slots; what a rule doesn't have stays zero.
pub(super) type State<C> = [C; 4];

/// So many elements are worth handing to another thread.
const GRAIN: usize = 1 << 14;

macro_rules! passes {
    ($($name:ident($($slot:ident $at:literal),*);)*) => {
        $(#[inline(always)]
        fn $name<T: Stored>($($slot: &mut [T],)* grad: &[T], step: &impl Fn(&mut State<T::Field>, T::Field)) {
            $(let $slot = &mut $slot[..grad.len()];)*
            for (i, gradient) in grad.iter().enumerate() {
                let mut state = State::default();
                $(state[$at] = $slot[i].load();)*
                step(&mut state, gradient.load());
                $($slot[i] = T::store(state[$at]);)*
            }
        })*
    };
}

passes! {
    one(a 0);
    two(a 0, b 1);
    three(a 0, b 1, c 2);
    four(a 0, b 1, c 2, d 3);
}

/// Steps every element of a run. There are as many slots as the rule has, at most four, each as long as the gradient.
#[inline(always)]
pub(super) fn run<T: Stored>(slots: &mut [&mut [T]], grad: &[T], step: impl Fn(&mut State<T::Field>, T::Field)) {
    match slots {
        [a] => one(a, grad, &step),
        [a, b] => two(a, b, grad, &step),
        [a, b, c] => three(a, b, c, grad, &step),
        [a, b, c, d] => four(a, b, c, d, grad, &step),
        _ => unreachable!("a rule has one to four slots"),
    }
}

/// Steps every element, on several threads where there are many.
#[inline(always)]
pub(super) fn dense<T: Stored>(slots: &mut [&mut [T]], grad: &[T], step: impl Fn(&mut State<T::Field>, T::Field) + Sync) {
    debug_assert!(slots.iter().all(|s| s.len() == grad.len()));
    let pointers: Vec<SharedMut<T>> = slots.iter_mut().map(|s| SharedMut(s.as_mut_ptr())).collect();
    parallel_for(grad.len(), GRAIN, |range| {
        // SAFETY: the ranges don't overlap, and lie within slots that stay borrowed until the loop ends.
        let part = |p: &SharedMut<T>| unsafe { std::slice::from_raw_parts_mut(p.get().add(range.start), range.len()) };
        let mut parts: smallvec::SmallVec<[&mut [T]; 4]> = pointers.iter().map(part).collect();
        vectorize(
            #[inline(always)]
            || run(&mut parts, &grad[range.clone()], &step),
        );
    });
}
