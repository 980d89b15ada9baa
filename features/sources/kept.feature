Feature: A run attaches to a cluster that a person keeps

  `trellis up` keeps a cluster until its owner ends it. Features attach to it by name, borrow its
  nodes, and leave it as it is.

  Scenario: Asked, written to, and still there afterwards
    Given trellis up keeps the cluster "lab" of 3 nodes
    When I run the harness on this feature:
      """
      Feature: Attached
        Scenario: A cluster by its name
          Given the attached cluster "up:lab"
          When the nodes are ready
          Then NODE_2 is borrowed
          And the nodes agree on a leader within 15 seconds
          When I write 10 keys
          Then no acknowledged write is lost
      """
    Then the exit code is 0
    And trellis status of "lab" shows "lab is up"
    When trellis down ends the cluster "lab"
    Then nothing of that run is left

  Scenario: Restarted with leave, by whoever keeps it
    Given trellis up keeps the cluster "lab" of 3 nodes
    When I run the harness on this feature:
      """
      Feature: Attached
        Scenario: One node may be restarted
          Given the attached cluster "up:lab"
          And NODE_2 may be stopped and started although it is borrowed
          When the nodes are ready
          And I restart NODE_2
          Then NODE_2 is running
          And the journal says "opted in by the feature"
      """
    Then the exit code is 0

  Scenario: Another node of it is left alone all the same
    Given trellis up keeps the cluster "lab" of 3 nodes
    When I run the harness on this feature:
      """
      Feature: Attached
        Scenario: One node may be restarted, and another is
          Given the attached cluster "up:lab"
          And NODE_2 may be stopped and started although it is borrowed
          When the nodes are ready
          And I restart NODE_1
      """
    Then the exit code is 2
    And it prints "refused to restart NODE_1: it is borrowed"

  Scenario: A cluster that is not up is unknown
    When I run the harness on this feature:
      """
      Feature: Attached
        Scenario: Which one
          Given the attached cluster "up:nowhere"
          When the nodes are ready
      """
    Then the exit code is 1
    And it prints "trellis up SPEC"
