use super::*;
use crate::perf::replica::{ClassWork, Replica};
use crate::space::Space;

fn spec() -> Spec {
    Spec::from_json(include_str!("../../benches/spec.json")).unwrap()
}

/// The first layout of the dense model that passes `wanted`.
fn find(spec: &Spec, wanted: impl Fn(&Configuration) -> bool) -> Configuration {
    let space = Space::new(spec);
    (0..space.len())
        .map(|id| space.decode(spec, id).unwrap())
        .find(|c| wanted(c) && engine(spec, c, usize::MAX).is_ok())
        .unwrap()
}

fn options(replicas: usize, requests: u64) -> Options {
    Options {
        replicas,
        requests,
        replications: 4,
        seed: 11,
        ..Options::default()
    }
}

fn drawn(rate: f64, pair: (u32, u32)) -> Traffic {
    let class = || Lengths {
        pairs: vec![pair],
        hit_rate: 0.0,
    };
    Traffic::Drawn {
        rates: vec![rate, 0.0],
        lengths: vec![class(), class()],
    }
}

/// Replica-seconds of one request of fixed lengths at a full batch, by the analytic model.
fn analytic_load(spec: &mut Spec, c: &Configuration, pair: (u32, u32)) -> f64 {
    let fixed = |tokens: u32| {
        let mut length = spec.workloads[c.workload].classes[0].input;
        length.at = [f64::from(tokens); 5];
        (length.m2, length.max) = (f64::from(tokens).powi(2), f64::from(tokens));
        length
    };
    let (input, output) = (fixed(pair.0), fixed(pair.1));
    let class = &mut spec.workloads[c.workload].classes[0];
    (class.input, class.output, class.hit_rate) = (input, output, 0.0);
    let layout = resolve(spec, c).unwrap();
    let step = StepModel::of(&layout).unwrap();
    let work = [ClassWork::new(
        &layout,
        &step,
        &spec.workloads[c.workload].classes[0],
    )];
    let batch = spec.workloads[c.workload].batches[c.batch];
    Replica::new(&layout, &step, &work, batch).classes[0].load
}

fn simulate(
    spec: &Spec,
    c: &Configuration,
    traffic: &Traffic,
    options: &Options,
) -> std::result::Result<Report, Refused> {
    super::simulate(spec, c, traffic, options, &AtomicBool::new(false))
}

fn replayed(requests: Vec<Request>) -> Traffic {
    Traffic::Replayed {
        requests,
        blocks: None,
    }
}

#[test]
fn one_request_alone_takes_the_steps_it_needs() {
    let spec = spec();
    let c = find(&spec, |c| c.speculation == 0 && c.parallel.pp == 1);
    let request = Request {
        index: 0,
        arrived_s: 1.0,
        class: 0,
        input: 10_000,
        cached: 0,
        output: 3,
    };
    let report = simulate(&spec, &c, &replayed(vec![request]), &options(1, 1)).unwrap();
    let layout = resolve(&spec, &c).unwrap();
    let step = StepModel::of(&layout).unwrap();
    let kernel = layout.kernel;
    // Two chunks of at most 8,192 tokens, then two decode steps.
    let late = (kernel.ttft_steps - 1.5) * step.overhead_s;
    let prompt = step.step_time(0.0, 0.0, 8192.0, 0.0) + step.step_time(0.0, 0.0, 1808.0, 8192.0);
    let ttft = kernel.ttft_fixed_s + late + prompt;
    let decode = step.step_time(1.0, 10_001.0, 0.0, 0.0) + step.step_time(1.0, 10_002.0, 0.0, 0.0);
    let class = &report.classes[0];
    let mut all = Conservation::default();
    (all.counts.arrived, all.counts.finished) = (1, 1);
    assert_eq!(
        (report.steps, class.finished, report.conservation),
        (4, 1, all)
    );
    assert!((class.ttft_s[0].mean - ttft).abs() < 1e-9 * ttft);
    assert!((class.tpot_s[0].mean - decode / 2.0).abs() < 1e-9 * decode);
    assert!((class.e2e_s[0].mean - ttft - decode).abs() < 1e-9 * ttft);
    assert!(class.ttft_s[0].half_width.is_nan());
}

#[test]
fn utilisation_is_offered_load_and_saturation_is_capacity() {
    let mut spec = spec();
    let pair = (600, 120);
    for speculation in [0, 1] {
        let c = find(&spec, |c| {
            c.speculation == speculation
                && c.parallel.pp == 1 + speculation as u32
                && c.batch == 1
                && c.set == 0
        });
        let load = analytic_load(&mut spec, &c, pair);
        let run = |times: f64| {
            let traffic = drawn(2.0 * times / load, pair);
            simulate(&spec, &c, &traffic, &options(2, 4_000)).unwrap()
        };
        let below = run(0.7);
        assert_eq!((below.unstable_replications, below.replications), (0, 4));
        let off = below.utilisation.mean / 0.7 - 1.0;
        assert!(off.abs() < 0.04, "{speculation}: {off}");
        let above = run(1.3);
        assert_eq!(above.unstable_replications, 4);
        let off = above.classes[0].served_per_s.mean * load / 2.0 - 1.0;
        assert!(off.abs() < 0.06, "{speculation}: {off}");
        assert!(above.classes[0].ttft_s[1].mean > 3.0 * below.classes[0].ttft_s[1].mean);
    }
}

#[test]
fn a_full_cache_sends_requests_back_and_loses_none() {
    let mut spec = spec();
    let c = find(&spec, |c| c.speculation == 0 && c.batch == 2 && c.set == 0);
    let weights = crate::perf::memory::weight_bytes(&resolve(&spec, &c).unwrap());
    let system = spec.workloads[c.workload].systems[c.system];
    let kernel = spec.kernel(system, 0).unwrap().clone();
    let layout = resolve(&spec, &c).unwrap();
    let step = StepModel::of(&layout).unwrap();
    let activations =
        crate::perf::memory::activation_bytes(&layout, f64::from(kernel.chunk_tokens));
    // Room for ten sequences at their longest, where 128 places are.
    let room = 10.0 * step.kv.at(1_000.0);
    spec.systems[system].mem_bytes = (weights + activations + room) / kernel.mem_fraction;
    let report = simulate(&spec, &c, &drawn(50.0, (100, 900)), &options(1, 400)).unwrap();
    assert!(report.preemptions > 0);
    let all = report.conservation;
    assert_eq!(all.counts.arrived, all.counts.finished + all.in_flight);
    assert_eq!(all.counts.rejected, 0);
    // One that could never fit is turned away.
    let report = simulate(&spec, &c, &drawn(1.0, (11_000, 900)), &options(1, 50)).unwrap();
    assert_eq!(report.classes[0].rejected, report.classes[0].arrived);
}

#[test]
fn every_rule_serves_everything_and_watching_queues_helps_when_lengths_vary() {
    let mut spec = spec();
    let c = find(&spec, |c| c.speculation == 0 && c.batch == 0 && c.set == 0);
    // Nine short answers and a long one: 78 tokens on average.
    let mut pairs = vec![(200, 20); 9];
    pairs.push((200, 600));
    let load = analytic_load(&mut spec, &c, (200, 78));
    let mut traffic = drawn(4.5 / load, (200, 78));
    if let Traffic::Drawn { lengths, .. } = &mut traffic {
        lengths[0].pairs = pairs;
    }
    let ttft = [Rule::RoundRobin, Rule::ShortestQueue, Rule::LeastLoaded].map(|rule| {
        let options = Options {
            router: rule,
            ..options(5, 6_000)
        };
        let report = simulate(&spec, &c, &traffic, &options).unwrap();
        assert_eq!(report.classes[0].unfinished, 0);
        report.classes[0].ttft_s[4].mean
    });
    assert!(ttft[1] < ttft[0] && ttft[2] < ttft[0], "{ttft:?}");
}

#[test]
fn one_thread_or_two_give_the_same_bytes() {
    let spec = spec();
    let c = find(&spec, |c| c.speculation == 1 && c.set == 0);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let report = pool.install(|| simulate(&spec, &c, &drawn(3.0, (300, 50)), &options(3, 500)));
        format!("{:?}", report.unwrap())
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn pools_of_one_role_and_classes_not_admitted_are_refused() {
    let spec = spec();
    let space = Space::new(&spec);
    let all = || (0..space.len()).map(|id| space.decode(&spec, id).unwrap());
    let pool = all().find(|c| c.role != Role::Serve).unwrap();
    assert_eq!(engine(&spec, &pool, 1).unwrap_err(), Refused::Role);
    let only_long = all().find(|c| c.set == 1).unwrap();
    let refused = simulate(&spec, &only_long, &drawn(1.0, (10, 10)), &options(1, 10));
    assert_eq!(refused.unwrap_err(), Refused::Point(NoPoint::NotAdmitted));
}
