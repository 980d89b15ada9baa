//! Order: whether what a consumer delivers is the stream, without holes and without going back.

use super::Interruption;

/// Follows one delivery from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    consumer: u64,
    stream: u64,
}

impl Order {
    /// A delivery that starts at the sequence `from`.
    pub fn starting_at(from: u64) -> Self {
        Self {
            consumer: 0,
            stream: from.saturating_sub(1),
        }
    }

    /// The last message of the stream that was noted, or the one before the start.
    pub fn seen(&self) -> u64 {
        self.stream
    }

    /// How many messages the consumer has delivered, the last one with them.
    pub(super) fn delivered(&self) -> u64 {
        self.consumer
    }

    /// Notes a message: number `consumer` of its consumer, at `stream`, delivered `times`.
    ///
    /// # Errors
    /// It is not the next one. Nothing more of this delivery may be used.
    pub fn next(&mut self, consumer: u64, stream: u64, times: i64) -> Result<(), Interruption> {
        if times > 1 || stream <= self.stream {
            return Err(Interruption::Disorder);
        }
        // Sequences of the stream may have holes where a filter leaves messages out; those of the consumer never do.
        if consumer != self.consumer + 1 {
            return Err(Interruption::Gap);
        }
        *self = Self { consumer, stream };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rising_sequences_pass_with_the_holes_that_a_filter_leaves() {
        let mut order = Order::starting_at(5);
        assert_eq!(order.next(1, 5, 1), Ok(()));
        assert_eq!(order.next(2, 9, 1), Ok(()));
    }

    #[test]
    fn holes_in_the_consumer_steps_back_and_second_deliveries_break_it_off() {
        let started = || {
            let mut order = Order::starting_at(5);
            order.next(1, 5, 1).unwrap();
            order
        };
        assert_eq!(started().next(3, 7, 1), Err(Interruption::Gap));
        assert_eq!(started().next(2, 5, 1), Err(Interruption::Disorder));
        assert_eq!(started().next(2, 6, 2), Err(Interruption::Disorder));
        assert_eq!(
            Order::starting_at(5).next(1, 4, 1),
            Err(Interruption::Disorder)
        );
    }
}
