"""Ways for frames to travel. A transport knows connections and binary messages, and nothing of what they say."""
