//! Work that is done in any order, taken in its own.

use std::{
    collections::BTreeMap,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Takes numbered items in the order of their numbers. An item that comes early waits; a thread whose item is too far
/// ahead waits itself, so that no more than `ahead` items are held.
#[derive(Debug)]
pub(crate) struct InOrder<T, S> {
    state: Mutex<State<T, S>>,
    turn: Condvar,
    ahead: u64,
}

#[derive(Debug)]
struct State<T, S> {
    next: u64,
    early: BTreeMap<u64, T>,
    sink: S,
}

impl<T, S> InOrder<T, S> {
    pub(crate) fn new(ahead: u64, sink: S) -> Self {
        Self { state: Mutex::new(State { next: 0, early: BTreeMap::new(), sink }), turn: Condvar::new(), ahead }
    }

    fn locked(&self) -> MutexGuard<'_, State<T, S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands item `number` in; `take` is called for it and those that waited for it, in order. Returns without, once
    /// `stopped`. The thread with the lowest number never waits.
    pub(crate) fn put<E>(
        &self,
        number: u64,
        item: T,
        stopped: &AtomicBool,
        mut take: impl FnMut(&mut S, T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.locked();
        while number > state.next + self.ahead && !stopped.load(Ordering::Relaxed) {
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if stopped.load(Ordering::Relaxed) {
            return Ok(());
        }
        let State { next, early, sink } = &mut *state;
        early.insert(number, item);
        while let Some(item) = early.remove(next) {
            take(sink, item)?;
            *next += 1;
        }
        self.turn.notify_all();
        Ok(())
    }

    /// Wakes the threads that wait, after `stopped` was set.
    pub(crate) fn wake(&self) {
        // With the lock, a thread is either before its look at `stopped` or already asleep.
        drop(self.locked());
        self.turn.notify_all();
    }

    pub(crate) fn into_sink(self) -> S {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).sink
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_taken_in_order_and_few_are_held() {
        let (order, stopped) = (InOrder::new(2, (Vec::new(), 0_usize)), AtomicBool::new(false));
        let next = Mutex::new(0_u64);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (order, stopped, next) = (&order, &stopped, &next);
                scope.spawn(move || {
                    loop {
                        let number = {
                            let mut next = next.lock().unwrap();
                            *next += 1;
                            *next - 1
                        };
                        if number >= 400 {
                            return;
                        }
                        if (number + thread).is_multiple_of(7) {
                            std::thread::sleep(std::time::Duration::from_micros(300));
                        }
                        let take = |sink: &mut (Vec<u64>, usize), item: u64| {
                            sink.0.push(item);
                            sink.1 += 1;
                            Ok::<(), ()>(())
                        };
                        order.put(number, number, stopped, take).unwrap();
                        assert!(order.locked().early.len() <= 3);
                    }
                });
            }
        });
        let (taken, count) = order.into_sink();
        assert_eq!((taken, count), ((0..400).collect(), 400));
    }

    #[test]
    fn those_that_wait_are_let_go_when_all_stops() {
        let (order, stopped) = (InOrder::new(0, ()), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| order.put(5, (), &stopped, |(), ()| Err("taken")));
            std::thread::sleep(std::time::Duration::from_millis(5));
            stopped.store(true, Ordering::Relaxed);
            order.wake();
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
    }
}
