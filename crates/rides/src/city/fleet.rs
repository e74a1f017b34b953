//! The cars: where they idle, and until when they are busy.

use super::streets::Point;
use crate::draw::Draw;

/// Of the whole fleet so many cars answer at a time, if they are idle: the others' drivers pause, or serve another app.
/// A larger fleet serves more riders and stands no denser.
const ANSWERING: f64 = 130.0;

/// All cars, by number.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    cars: Vec<Vehicle>,
}

#[derive(Debug, Clone, Copy)]
struct Vehicle {
    /// Where it idles, or will when it is free again.
    at: Point,
    /// Microseconds since 1970 UTC.
    free_at_us: i64,
}

impl Fleet {
    /// `count` idle cars, each put somewhere by `place`.
    pub(crate) fn new(count: usize, place: impl Fn(&mut Draw) -> Point, draw: &mut Draw) -> Self {
        Self { cars: (0..count).map(|_| Vehicle { at: place(draw), free_at_us: i64::MIN }).collect() }
    }

    /// Up to `wanted` of the idle cars near `rider`, the one that seems nearest first. The dispatcher knows nothing of
    /// the river.
    pub(crate) fn offer(&self, rider: Point, now_us: i64, wanted: usize, draw: &mut Draw) -> Vec<usize> {
        let mut near = Vec::with_capacity(2 * ANSWERING as usize);
        let mut number = draw.skip(self.answers());
        while let Some(car) = self.cars.get(number) {
            if car.free_at_us <= now_us {
                near.push((car.at.blocks_m(rider), number));
            }
            number = number.saturating_add(1).saturating_add(draw.skip(self.answers()));
        }
        // The number as the last word: the same order whatever the sorting algorithm.
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if near.len() > wanted {
            near.select_nth_unstable_by(wanted, order);
            near.truncate(wanted);
        }
        near.sort_unstable_by(order);
        near.into_iter().map(|(_, number)| number).collect()
    }

    /// The probability that a car answers.
    fn answers(&self) -> f64 {
        (ANSWERING / self.cars.len() as f64).min(1.0)
    }

    /// Where a car is.
    pub(crate) fn place(&self, car: usize) -> Point {
        self.cars[car].at
    }

    /// A car is busy until `free_at_us`, and then idles at `at`.
    pub(crate) fn send(&mut self, car: usize, at: Point, free_at_us: i64) {
        self.cars[car] = Vehicle { at, free_at_us };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Purpose;

    #[test]
    fn offers_the_nearest_idle_cars() {
        let mut draw = Draw::new(1, Purpose::Rides, 0, 0);
        let mut fleet = Fleet::new(200, |draw| Point::within(draw.below(120), draw), &mut draw);
        let rider = Point { x_m: 5000.0, y_m: 5000.0 };
        fleet.send(7, rider, 1000);
        let distances = |cars: &[usize], fleet: &Fleet| -> Vec<f64> {
            cars.iter().map(|&car| fleet.place(car).blocks_m(rider)).collect()
        };
        for _ in 0..50 {
            let cars = fleet.offer(rider, 999, 12, &mut draw);
            assert!(cars.len() == 12 && !cars.contains(&7));
            assert!(distances(&cars, &fleet).is_sorted());
        }
        // Free again, and at the door: it is first whenever it is offered at all.
        let firsts = (0..500).filter(|_| fleet.offer(rider, 1000, 3, &mut draw)[0] == 7).count();
        assert!((280..370).contains(&firsts), "{firsts} of 500");
    }
}
