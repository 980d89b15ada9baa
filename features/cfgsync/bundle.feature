Feature: A node gets the files that were prepared for it

  When all files are known beforehand, cfgsync serves them as a bundle. A node asks by its name,
  waits for nobody, and writes what it gets: all of it, or nothing.

  Rule: A node gets its own files and those that all share

    Background:
      Given cfgsync serves this bundle:
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
              - path: keys/node.key
                content: "not a real key"
                mode: "0600"
        shared_files:
          - path: genesis.json
            content: "{}"
        """

    @smoke
    Scenario: Files are written with their modes
      When node "node-2" asks cfgsync for its files
      Then node "node-2" has these files within 10 seconds:
        | path          | content        | mode |
        | node.yaml     | id: 2          | 0644 |
        | keys/node.key | not a real key | 0600 |
        | genesis.json  | {}             | 0644 |

    Scenario: A second run on the same folder replaces the files
      When node "node-1" asks cfgsync for its files
      Then node "node-1" has these files within 10 seconds:
        | path         | content | mode |
        | node.yaml    | id: 1   | 0644 |
        | genesis.json | {}      | 0644 |
      When node "node-1" asks cfgsync for its files
      Then node "node-1" has these files within 10 seconds:
        | path         | content | mode |
        | node.yaml    | id: 1   | 0644 |
        | genesis.json | {}      | 0644 |

    Scenario: A node that the bundle does not have is told so at once
      When node "node-9" asks cfgsync for its files
      Then node "node-9" gets nothing within 10 seconds, because "is not a node of this deployment; known nodes: node-1, node-2"

  Rule: What cannot be written as a whole is not written at all

    Scenario Outline: A path that leaves the folder: <path>
      Given cfgsync serves this bundle:
        """
        nodes:
          - identifier: node-1
            files:
              - path: good.yaml
                content: "fine"
              - path: <path>
                content: "not fine"
        """
      When node "node-1" asks cfgsync for its files
      Then node "node-1" gets nothing within 10 seconds, because "<path>"

      Examples:
        | path            |
        | ../escaped.yaml |
        | a/../../escaped |
        | /escaped.yaml   |

    Scenario: A full disk
      Given cfgsync serves this bundle:
        """
        nodes:
          - identifier: node-1
            files:
              - path: first.yaml
                content: "fits"
              - path: second.yaml
                content: "fits"
              - path: third.yaml
                content: "does not fit"
        """
      When node "node-1" asks cfgsync for its files with a disk that has room for two files
      Then node "node-1" gets nothing within 10 seconds, because "No space left on device"

    Scenario: A read-only folder
      Given cfgsync serves this bundle:
        """
        nodes:
          - identifier: node-1
            files:
              - path: node.yaml
                content: "id: 1"
        """
      When node "node-1" asks cfgsync for its files with a read-only disk
      Then node "node-1" gets nothing within 10 seconds, because "Read-only file system"
