//! Several runs on one store, one call at a time, in an order that a test decides: threads that really run, and no time
//! in it. The next call is let through when every run that is left waits with one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Which of these runs is next; called when all of them wait.
pub(crate) type Choose = Box<dyn FnMut(&[usize]) -> usize + Send>;

/// The order of calls.
pub(crate) struct Turns(Mutex<State>);

struct State {
    /// Calls that wait, by run; `None` for a run that is over.
    waiting: Vec<Option<VecDeque<oneshot::Sender<Turn>>>>,
    choose: Choose,
    busy: bool,
    /// Whose calls were let through, in order.
    order: Vec<usize>,
}

/// A run's place among the others; it is over when this is dropped.
pub(crate) struct Seat(Arc<Turns>, usize);

/// A call that goes on; the next follows when this is dropped.
pub(crate) struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// Seats for `runs`.
    pub(crate) fn seats(runs: usize, choose: Choose) -> (Arc<Turns>, Vec<Seat>) {
        let waiting = (0..runs).map(|_| Some(VecDeque::new())).collect();
        let turns = Arc::new(Turns(Mutex::new(State { waiting, choose, busy: false, order: Vec::new() })));
        let seats = (0..runs).map(|run| Seat(Arc::clone(&turns), run)).collect();
        (turns, seats)
    }

    /// Whose calls were let through, in order.
    pub(crate) fn order(&self) -> Vec<usize> {
        self.state().order.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next call through if it is time.
    fn advance(self: &Arc<Self>) {
        let mut state = self.state();
        while !state.busy {
            for calls in state.waiting.iter_mut().flatten() {
                calls.retain(|call| !call.is_closed());
            }
            let left: Vec<usize> = (0..state.waiting.len()).filter(|run| state.waiting[*run].is_some()).collect();
            let all_wait = state.waiting.iter().flatten().all(|calls| !calls.is_empty());
            if left.is_empty() || !all_wait {
                return;
            }
            let run = (state.choose)(&left);
            let next = state.waiting[run].as_mut().and_then(VecDeque::pop_front).expect("a call that waits");
            match next.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => {
                    state.busy = true;
                    state.order.push(run);
                }
                // Given up at this moment. What comes back must not end a turn, least of all under the lock.
                Err(mut turn) => drop(turn.0.take()),
            }
        }
    }
}

impl Seat {
    /// Waits for this call's turn.
    pub(crate) async fn turn(&self) -> Turn {
        let (send, receive) = oneshot::channel();
        if let Some(calls) = &mut self.0.state().waiting[self.1] {
            calls.push_back(send);
        }
        self.0.advance();
        receive.await.expect("a seat that is not given up")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.state().waiting[self.1] = None;
        self.0.advance();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        turns.state().busy = false;
        turns.advance();
    }
}
