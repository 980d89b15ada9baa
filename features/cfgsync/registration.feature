Feature: A node waits for the others and is told for whom

  When the files depend on who is there, nobody gets any before everybody has registered. Waiting is
  one held request, and whoever waits can read what for.

  Background:
    Given cfgsync serves these files when all of their nodes have registered:
      """
      nodes:
        - identifier: node-1
          files:
            - path: node.yaml
              content: "id: 1"
        - identifier: node-2
          files:
            - path: node.yaml
              content: "id: 2"
        - identifier: node-3
          files:
            - path: node.yaml
              content: "id: 3"
      """

  @smoke
  Scenario: The last one to register releases all
    When node "node-1" asks cfgsync for its files
    Then node "node-1" waits, because "1 of 3 registered, missing node-2, node-3" within 10 seconds
    When node "node-2" asks cfgsync for its files
    Then node "node-2" waits, because "2 of 3 registered, missing node-3" within 10 seconds
    When node "node-3" asks cfgsync for its files
    Then node "node-3" has these files within 10 seconds:
      | path      | content | mode |
      | node.yaml | id: 3   | 0644 |
    And node "node-1" has these files within 10 seconds:
      | path      | content | mode |
      | node.yaml | id: 1   | 0644 |
    And node "node-2" has these files within 10 seconds:
      | path      | content | mode |
      | node.yaml | id: 2   | 0644 |

  Scenario: A node comes back with another address
    When node "node-1" at 10.0.0.1 asks cfgsync for its files
    Then node "node-1" waits, because "1 of 3 registered" within 10 seconds
    And cfgsync knows node "node-1" at 10.0.0.1
    When node "node-1" at fd00::1 asks cfgsync for its files
    Then node "node-1" waits, because "1 of 3 registered" within 10 seconds
    And cfgsync knows node "node-1" at fd00::1

  Scenario: The server restarts in the middle of a wait, and forgets everybody
    When node "node-1" asks cfgsync for its files
    Then node "node-1" waits, because "missing node-2, node-3" within 10 seconds
    When the cfgsync server is killed
    Then node "node-1" waits, because "not up" within 20 seconds
    When the cfgsync server starts again
    And node "node-2" asks cfgsync for its files
    And node "node-3" asks cfgsync for its files
    Then node "node-1" has these files within 30 seconds:
      | path      | content | mode |
      | node.yaml | id: 1   | 0644 |

  Scenario: A node that nobody has files for
    When node "stranger" asks cfgsync for its files
    Then node "stranger" gets nothing within 20 seconds, because "is not a node of this deployment; known nodes: node-1, node-2, node-3"
