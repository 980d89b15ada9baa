//! Merging: the metrics of several shards as those of one node. Each family may be described once only.

/// `texts` as one, whose samples differ by a label.
pub(crate) fn merged(texts: &[String]) -> String {
    let mut families: Vec<Family<'_>> = Vec::new();
    for text in texts {
        let mut at = 0;
        for line in text.lines().filter(|line| *line != END) {
            let Some(name) = described(line) else {
                if let Some(family) = families.get_mut(at) {
                    family.samples.push(line);
                }
                continue;
            };
            at = families
                .iter()
                .position(|family| family.name == name)
                .unwrap_or(families.len());
            if at == families.len() {
                families.push(Family::new(name));
            }
            let family = &mut families[at];
            if !family.about.contains(&line) {
                family.about.push(line);
            }
        }
    }
    let lines = families
        .iter()
        .flat_map(|family| family.about.iter().chain(&family.samples));
    let lines: Vec<&str> = lines.copied().chain([END]).collect();
    lines.join("\n") + "\n"
}

const END: &str = "# EOF";

struct Family<'t> {
    name: &'t str,
    about: Vec<&'t str>,
    samples: Vec<&'t str>,
}

impl<'t> Family<'t> {
    fn new(name: &'t str) -> Self {
        Self {
            name,
            about: Vec::new(),
            samples: Vec::new(),
        }
    }
}

/// The family that a line is about, where it describes one.
fn described(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("# ")?.split(' ');
    let kind = words.next()?;
    ["HELP", "TYPE", "UNIT"]
        .contains(&kind)
        .then(|| words.next())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_described_once_with_the_samples_of_all() {
        let of = |shard: u32, value: u32| {
            format!(
                "# HELP floor Where it is.\n# TYPE floor gauge\nfloor{{shard=\"{shard}\"}} {value}\n# HELP ready Whether.\n# TYPE ready gauge\nready{{shard=\"{shard}\"}} 1\n# EOF\n"
            )
        };
        let expected = "# HELP floor Where it is.\n# TYPE floor gauge\nfloor{shard=\"0\"} 7\nfloor{shard=\"1\"} 8\n# HELP ready Whether.\n# TYPE ready gauge\nready{shard=\"0\"} 1\nready{shard=\"1\"} 1\n# EOF\n";
        assert_eq!(merged(&[of(0, 7), of(1, 8)]), expected);
        assert_eq!(merged(&[]), "# EOF\n");
    }
}
