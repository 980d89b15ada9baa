//! Cycles: what a look at many nodes takes in which nothing is new, against asking all of them for their heads.

use std::{hint::black_box, time::Instant};

use futures::future::join_all;
use trellis_chain::{ChainObserver, ChainObserverConfig, StartAt};
use trellis_observation::Observer;

use crate::{Source, median};

pub(crate) async fn measure(sources: &[Source], cycles: usize) {
    let config = ChainObserverConfig::default().with_start(StartAt::Lib);
    let observer = ChainObserver::new(config);
    let mut state = observer.init(sources).await.expect("it begins empty");
    let mut times = [Vec::new(), Vec::new()];
    // The first cycle fetches what there is.
    for cycle in 0..=cycles {
        let begun = Instant::now();
        let asked = sources.iter().map(|listed| listed.source.head());
        for head in join_all(asked).await {
            black_box(head.expect("the node answers"));
        }
        let bare = begun.elapsed();
        let begun = Instant::now();
        let events = observer.poll(sources, &mut state).await;
        let events = events.expect("the nodes answer");
        black_box((events, observer.snapshot(&state)));
        if cycle > 0 {
            times[0].push(begun.elapsed());
            times[1].push(bare);
        }
    }
    let [observed, bare] = times.map(|times| median(times).as_secs_f64() * 1e6);
    println!("cycle        sources   observer us   heads at once us   ratio");
    println!(
        "devchain    {:>8}   {observed:>11.0}   {bare:>16.0}   {:>5.2}",
        sources.len(),
        observed / bare
    );
}
