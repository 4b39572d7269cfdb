//! Device names: partial specifications, merged from the inner scope to the outer ones.

/// The parts of a device's name that a scope gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct DeviceSpec {
    job: Option<String>,
    replica: Option<String>,
    task: Option<String>,
    device_type: Option<String>,
    device_index: Option<String>,
}

impl DeviceSpec {
    /// Reads `/job:ps/task:1/device:GPU:0`, or the older `/gpu:0`.
    fn parse(text: &str) -> Option<DeviceSpec> {
        let mut spec = DeviceSpec::default();
        for part in text.split('/').filter(|p| !p.is_empty()) {
            let fields: Vec<&str> = part.split(':').collect();
            match fields[..] {
                ["job", name] => spec.job = Some(name.to_string()),
                ["replica", number] => spec.replica = Some(number.to_string()),
                ["task", number] => spec.task = Some(number.to_string()),
                ["device", kind, index] => spec.set(kind, index),
                [kind, index] => spec.set(&kind.to_uppercase(), index),
                [kind] => spec.set(&kind.to_uppercase(), "*"),
                _ => return None,
            }
        }
        Some(spec)
    }

    fn set(&mut self, kind: &str, index: &str) {
        self.device_type = Some(kind.to_string());
        self.device_index = (index != "*").then(|| index.to_string());
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (key, value) in [("job", &self.job), ("replica", &self.replica), ("task", &self.task)] {
            if let Some(value) = value {
                text += &format!("/{key}:{value}");
            }
        }
        if let Some(kind) = &self.device_type {
            text += &format!("/device:{kind}:{}", self.device_index.as_deref().unwrap_or("*"));
        }
        text
    }
}

/// The device that an inner scope's name and an outer one's say together; the inner one wins where both speak. A name
/// that can't be read is taken as it is.
pub(super) fn merge(inner: &str, outer: &str) -> String {
    let (Some(mut spec), Some(base)) = (DeviceSpec::parse(inner), DeviceSpec::parse(outer)) else {
        return if inner.is_empty() { outer } else { inner }.to_string();
    };
    spec.job = spec.job.or(base.job);
    spec.replica = spec.replica.or(base.replica);
    spec.task = spec.task.or(base.task);
    spec.device_type = spec.device_type.or(base.device_type);
    spec.device_index = spec.device_index.or(base.device_index);
    spec.text()
}

#[cfg(test)]
mod tests {
    use super::merge;

    /// `tf.device` within `tf.device` in TensorFlow 2.15.
    #[test]
    fn as_tensorflow() {
        for (outer, inner, merged) in [
            ("", "/cpu:0", "/device:CPU:0"),
            ("/job:ps/task:1", "/gpu:0", "/job:ps/task:1/device:GPU:0"),
            ("/job:ps/gpu:0", "/job:worker", "/job:worker/device:GPU:0"),
            ("/gpu:1", "/cpu:*", "/device:CPU:1"),
            ("/device:GPU:0", "", "/device:GPU:0"),
        ] {
            assert_eq!(merge(inner, outer), merged, "{inner} in {outer}");
        }
    }
}
