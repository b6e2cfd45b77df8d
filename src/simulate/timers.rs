//! What happens at a set time beside steps and arrivals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::simulate::station::Entry;

/// Something that happens.
#[derive(Debug, Clone, Copy)]
pub enum Happening {
    /// A replica fails.
    Fails(usize),
    /// A replica is repaired.
    Repaired(usize),
    /// A replica takes no more requests, and finishes those it has.
    Closes(usize),
    /// It takes requests again.
    Opens(usize),
    /// A prompt's cache has come over the link to a lane.
    Transferred(usize, Entry),
}

/// Happenings to come; those at equal times in the order in which they were set.
#[derive(Debug, Default)]
pub struct Timers {
    due: BinaryHeap<Reverse<(u64, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    set: u64,
    moving: u64,
}

impl Timers {
    /// Sets one for a time of at least 0, s; never for an infinite one.
    pub fn set(&mut self, at_s: f64, happening: Happening) {
        if at_s.is_infinite() {
            return;
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.happenings.push(None);
                self.happenings.len() - 1
            }
        };
        self.moving += u64::from(matches!(happening, Happening::Transferred(..)));
        self.happenings[place] = Some(happening);
        // Bits of times of at least 0 are ordered as the times are.
        self.due.push(Reverse((at_s.to_bits(), self.set, place)));
        self.set += 1;
    }

    /// When the next is due, s; infinite when there is none.
    pub fn next_s(&self) -> f64 {
        let first = self.due.peek();
        first.map_or(f64::INFINITY, |Reverse((bits, _, _))| f64::from_bits(*bits))
    }

    /// Takes the next.
    pub fn take(&mut self) -> Option<Happening> {
        let Reverse((_, _, place)) = self.due.pop()?;
        self.free.push(place);
        let happening = self.happenings[place].take()?;
        self.moving -= u64::from(matches!(happening, Happening::Transferred(..)));
        Some(happening)
    }

    /// Requests on their way over a link.
    pub fn in_transfer(&self) -> u64 {
        self.moving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn happenings_come_in_order_of_time_and_of_setting() {
        let mut timers = Timers::default();
        timers.set(2.0, Happening::Fails(1));
        timers.set(1.0, Happening::Opens(2));
        timers.set(1.0, Happening::Closes(3));
        timers.set(f64::INFINITY, Happening::Fails(9));
        assert_eq!(timers.next_s(), 1.0);
        assert!(matches!(timers.take(), Some(Happening::Opens(2))));
        assert!(matches!(timers.take(), Some(Happening::Closes(3))));
        assert!(matches!(timers.take(), Some(Happening::Fails(1))));
        assert!(timers.take().is_none() && timers.next_s().is_infinite());
    }
}
