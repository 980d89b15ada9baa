Feature: A taken port is no reason to fail

  Ports are held from the moment they are chosen until their node is gone. Another process can
  still listen on one of them on purpose, and the harness answers with another port.

  @smoke
  Scenario: Another process takes a port between its reservation and the node's start
    Given the application is "openraft-kv-squatted"
    And a cluster of 3 nodes
    Then the nodes agree on a leader within 15 seconds

  Scenario: A port of the range that the harness is given is taken already
    Given the harness is given a range of ports of which the first is taken
    When I run the harness on this feature:
      """
      Feature: In a range of ports
        Scenario: Three nodes find room
          Given a cluster of 3 nodes
          Then every node answers within 10 seconds
      """
    Then the exit code is 0
