Feature: A node that does not come up is explained

  What QA reads at night: which node, what was seen last, and the end of its log, within the
  deadline and not later.

  Scenario: A node that never becomes ready
    When I run the harness on this feature:
      """
      Feature: Too slow
        Scenario: One node never gets ready
          Given NODE_2 has user config override "faults.never_ready" as "true"
          And nodes must be ready within 2 seconds
          And a cluster of 3 nodes
      """
    Then the exit code is 1
    And it prints "not ready within 2s (all nodes ready)"
    And it prints "NODE_2: not ready; last seen:"
    And it prints "log lines"
    And the harness took less than 20 seconds
    And nothing of that run is left

  Scenario: A node that crashes at its start
    When I run the harness on this feature:
      """
      Feature: Broken
        Scenario: One node crashes
          Given NODE_3 has user config override "faults.crash_at_start" as "true"
          And a cluster of 3 nodes
      """
    Then the exit code is 1
    And it prints "NODE_3 ended before it was ready: exit code"
    And it prints "log lines"
    And the harness took less than 20 seconds
    And nothing of that run is left

  Scenario: A quorum is enough where the feature says so
    Given NODE_3 has user config override "faults.never_ready" as "true"
    And at least 2 nodes must be ready
    And a cluster of 3 nodes
    Then NODE_1 is running
