Feature: What a machine lacks is said, and never passed over in silence

  An application that somebody else makes is not on every machine. A scenario that would run a
  program which is not there is skipped with the reason and with what installs it. Where nobody
  reads what was skipped, in CI, the same is a mistake that is found before anything starts.

  Scenario: What lacks a program is skipped, and everything else is run
    Given the harness is called with "--missing skip"
    When I run the harness on this feature:
      """
      Feature: Half of it
        Scenario: Nobody has installed this
          Given the application is "unavailable"
          And a cluster of 3 nodes
          Then 3 nodes are running
        Scenario: This one is here
          Given a cluster of 1 node
          Then 1 node is running
      """
    Then the exit code is 0
    And it prints "skipped: 1 scenario, because trellis-no-such-program is not on this machine"
    And it prints "apt-get install trellis-no-such-package"
    And it prints "1 passed, 0 failed, 1 skipped"
    And none of its 1 processes is left within 5 seconds
    And nothing of that run is left

  Scenario: Nothing may be missing in CI
    Given the harness is called with "--missing fail"
    When I run the harness on this feature:
      """
      Feature: All or nothing
        Scenario: Nobody has installed this
          Given the application is "unavailable"
          And a cluster of 3 nodes
        Scenario: This one is here
          Given a cluster of 1 node
      """
    Then the exit code is 2
    And it prints "trellis-no-such-program is not on this machine"
    And it prints "self.feature:2"
    And it prints "apt-get install trellis-no-such-package"
    And it prints "nothing was started"

  Scenario: A skip does not hide a failure
    Given the harness is called with "--missing skip"
    When I run the harness on this feature:
      """
      Feature: One of each
        Background:
          Given a cluster of 1 node
        Rule: Three nodes
          Scenario: There is one
            Then 3 nodes are running
        Rule: Elsewhere
          Scenario: Nobody has installed this
            Given the application is "unavailable"
      """
    Then the exit code is 1
    And it prints "0 passed, 1 failed, 1 skipped"
