//! Which stage is built when: each after all it needs, as many side by side as are wanted.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::plan::Plan;

/// The stages of a plan and how far they are. Shared by the threads that build them.
pub struct Schedule {
    /// What each stage needs, by position.
    needs: Vec<BTreeSet<usize>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    started: BTreeSet<usize>,
    finished: BTreeSet<usize>,
    stopped: bool,
}

impl Schedule {
    /// Nothing is built yet.
    pub fn new(plan: &Plan) -> Self {
        Self::of((0..plan.stages.len()).map(|position| plan.needs(position)).collect())
    }

    fn of(needs: Vec<BTreeSet<usize>>) -> Self {
        Self { needs, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The first stage in the plan's order that nobody builds and that needs nothing unfinished; waits until there is
    /// one. `None` when every stage is being built or finished, or one has failed.
    pub fn next(&self) -> Option<usize> {
        let mut state = self.state();
        loop {
            if state.stopped || state.started.len() == self.needs.len() {
                return None;
            }
            let ready = |position: &usize| {
                !state.started.contains(position) && self.needs[*position].is_subset(&state.finished)
            };
            if let Some(position) = (0..self.needs.len()).find(ready) {
                state.started.insert(position);
                return Some(position);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that a stage is finished, and gives the stages that nobody needs from now on: of those that it needed, and
    /// itself.
    pub fn finished(&self, position: usize) -> Vec<usize> {
        let mut state = self.state();
        state.finished.insert(position);
        self.changed.notify_all();
        let done = |needed: usize| {
            let mut users = self.needs.iter().enumerate().filter(|(_, needs)| needs.contains(&needed));
            users.all(|(user, _)| state.finished.contains(&user))
        };
        self.needs[position].iter().copied().chain([position]).filter(|needed| done(*needed)).collect()
    }

    /// Lets no further stage begin. Whether this is the first time that this is said.
    pub fn stop(&self) -> bool {
        let first = !std::mem::replace(&mut self.state().stopped, true);
        self.changed.notify_all();
        first
    }

    /// A bound of how many stages can be built at the same time: no more threads than that are of use.
    pub fn width(&self) -> usize {
        let all = 0..self.needs.len();
        let needs: Vec<_> = all.clone().map(|position| self.all_needs(position)).collect();
        let beside = |one: usize| {
            all.clone().filter(|other| !needs[one].contains(other) && !needs[*other].contains(&one)).count()
        };
        all.clone().map(beside).max().unwrap_or(1)
    }

    /// What a stage needs, and what that needs in turn.
    fn all_needs(&self, position: usize) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        let mut open = vec![position];
        while let Some(position) = open.pop() {
            open.extend(self.needs[position].iter().filter(|needed| all.insert(**needed)));
        }
        all
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(needs: &[&[usize]]) -> Schedule {
        Schedule::of(needs.iter().map(|needs| needs.iter().copied().collect()).collect())
    }

    #[test]
    fn stages_begin_in_order_and_after_what_they_need() {
        let schedule = schedule(&[&[], &[0], &[], &[1, 2]]);
        assert_eq!((schedule.next(), schedule.next()), (Some(0), Some(2)));
        assert!(schedule.finished(2).is_empty());
        assert!(schedule.finished(0).is_empty());
        assert_eq!(schedule.next(), Some(1));
        // Nobody but stage 1 needed stage 0.
        assert_eq!(schedule.finished(1), [0]);
        assert_eq!(schedule.next(), Some(3));
        assert_eq!(schedule.next(), None);
        assert_eq!(schedule.finished(3), [1, 2, 3]);
    }

    #[test]
    fn a_thread_waits_for_what_another_one_builds() {
        let schedule = schedule(&[&[], &[0]]);
        assert_eq!(schedule.next(), Some(0));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| schedule.next());
            schedule.finished(0);
            assert_eq!(waiting.join().unwrap(), Some(1));
        });
    }

    #[test]
    fn nothing_begins_after_a_failure() {
        let schedule = schedule(&[&[], &[], &[0]]);
        assert_eq!(schedule.next(), Some(0));
        assert!(schedule.stop());
        assert!(!schedule.stop());
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn stages_in_a_row_need_one_thread() {
        let cases: [(&[&[usize]], usize); 5] = [
            (&[&[]], 1),
            (&[&[], &[0], &[1]], 1),
            (&[&[], &[], &[0, 1]], 2),
            (&[&[], &[0], &[0], &[1, 2]], 2),
            (&[&[], &[], &[], &[0, 1, 2]], 3),
        ];
        for (needs, width) in cases {
            assert_eq!(schedule(needs).width(), width, "{needs:?}");
        }
    }
}
